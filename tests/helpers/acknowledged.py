"""Callers who write all the time, and what of it was acknowledged: for tests of what a failover loses."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count, pairwise

from wnc_store import Store, StoreError
from wnc_store_contract.samples import message, room, user

_PER_ROOM = 40
"""Users and messages that a room gets before the caller goes on to another."""

HISTORY = 1000
"""The `chat_history_limit` that keeps all of a room's messages."""


@dataclass
class Load:
    """Callers on a store whose `chat_history_limit` is `HISTORY`.

    Attributes:
        names: the rooms' ids; those of `prefix` and a number if there are none.
        acknowledged: (room, "user" or "message", its id) -> when the call returned, by `time.monotonic`.
        errors: how many of each kind callers got.
        unknown: what callers were told may or may not have happened.
    """

    store: Store
    names: Iterable[str] = ()
    prefix: str = "L"
    acknowledged: dict[tuple[str, str, str], float] = field(default_factory=dict[tuple[str, str, str], float])
    errors: Counter[str] = field(default_factory=Counter[str])
    slowest: float = 0.0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def start(self, callers: int = 20) -> None:
        """Begin."""
        names = iter(self.names or (f"{self.prefix}{number}" for number in count()))
        self._tasks = [asyncio.ensure_future(self._call(names)) for _ in range(callers)]

    async def stop(self) -> None:
        """End each caller's row after the call that is under way, as far as it came."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    def longest_gap(self) -> float:
        """Return the longest time in which no write was acknowledged, in seconds."""
        times = sorted(self.acknowledged.values())
        return max((late - early for early, late in pairwise(times)), default=0.0)

    async def lost(self, store: Store) -> dict[tuple[str, str, str], float]:
        """Return what was acknowledged and is not stored, as the store sees it.

        Raises:
            AssertionError: anything is stored twice.
        """
        present: set[tuple[str, str, str]] = set()
        for room_id in {one[0] for one in self.acknowledged}:
            found = await store.rooms.get_room(room_id)
            users = [one.id for one in found.users] if found else []
            messages = [one.id for one in await store.chat.get_messages(room_id)]
            assert len(users) == len(set(users))
            assert len(messages) == len(set(messages)), room_id
            present |= {(room_id, "user", one) for one in users} | {(room_id, "message", one) for one in messages}
        return {one: at for one, at in self.acknowledged.items() if one not in present}

    async def _call(self, names: Iterable[str]) -> None:
        for name in names:
            if await self._try(self.store.rooms.create_room(room(name)), (name, "user", "host")):
                for number in range(_PER_ROOM):
                    guest, text = f"u{number}", message(number, name)
                    await self._try(self.store.rooms.add_user_to_room(name, user(guest)), (name, "user", guest))
                    await self._try(self.store.chat.add_message(text), (name, "message", text.id))

    async def _try(self, call: object, what: tuple[str, str, str]) -> bool:
        start = time.monotonic()
        try:
            await call  # type: ignore[misc]
        except StoreError as error:
            self.errors[type(error).__name__] += 1
            return False
        else:
            self.acknowledged[what] = time.monotonic()
            return True
        finally:
            self.slowest = max(self.slowest, time.monotonic() - start)
