"""Deletion of old rows by stores that write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from wnc_store import StoreError
from wnc_store_postgres.transport.executor import StatementExecutor

_INTERVAL = 10.0
"""Seconds between two purges, while a store writes. The first follows after as many seconds."""


class Purger:
    """Deletes a batch of old rows in the background after a write, once in an interval, or sooner if more are left.

    Args:
        executor: runs the task.
        purge: deletes a batch, and returns whether more rows may be left.
    """

    def __init__(self, executor: StatementExecutor, purge: Callable[[], Awaitable[bool]]) -> None:
        self._executor = executor
        self._purge = purge
        self._next: float | None = None

    def on_write(self) -> None:
        """Start a purge, if it is time."""
        now = asyncio.get_running_loop().time()
        if self._next is None:
            self._next = now + _INTERVAL
        elif now >= self._next:
            self._next = now + _INTERVAL
            self._executor.spawn(self._run())

    async def _run(self) -> None:
        with suppress(StoreError):  # the next purge deletes the rows
            if await self._purge():
                self._next = asyncio.get_running_loop().time()
