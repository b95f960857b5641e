"""Locks by key, within this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLocks:
    """One lock for each key. Waiting calls obtain it in the order in which they arrived.

    Without it, writes of one room would occupy all connections only to wait for one another at the server.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, key: str, deadline: float) -> AsyncGenerator[None]:
        """Hold the lock of a key.

        Raises:
            TimeoutError: another call held the lock until the deadline.
        """
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
