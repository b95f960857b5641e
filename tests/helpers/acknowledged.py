"""Concurrent callers that write continuously, and checks of their writes across failovers and migrations."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from redis_cluster import Cluster, migrate, slot_of
from waiting import wait_until
from wnc_store import Store, StoreClosedError, StoreError, StoreSettings
from wnc_store_contract.factories import message, room, user

_PER_ROOM = 40
"""Users and messages that a room receives before the caller continues with another room."""

HISTORY = 1000
"""The `chat_history_limit` that keeps all of a room's messages."""

PATIENT = StoreSettings(chat_history_limit=HISTORY, operation_timeout=timedelta(seconds=60))
REPLICATED = PATIENT.model_copy(update={"durability": "replicated"})
"""Settings whose deadlines a slow machine does not miss."""

_MAY_BE_RAISED = {"StoreUnavailableError", "StoreTimeoutError", "OutcomeUnknownError"}


@dataclass
class Load:
    """Callers on a store whose `chat_history_limit` is `HISTORY`.

    Attributes:
        names: ids of the rooms. Without them, `prefix` and a number.
        acknowledged: (room, "user" or "message", its id) -> when the call returned, by `time.monotonic`.
        joined: number of users among the acknowledged writes.
        errors: number of errors of each type that callers received.
    """

    store: Store
    names: Iterable[str] = ()
    prefix: str = "L"
    acknowledged: dict[tuple[str, str, str], float] = field(default_factory=dict[tuple[str, str, str], float])
    joined: int = 0
    errors: Counter[str] = field(default_factory=Counter[str])
    _is_stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def start(self, callers: int = 20) -> None:
        """Start the callers."""
        names = iter(self.names or (f"{self.prefix}{number}" for number in count()))
        self._tasks = [asyncio.ensure_future(self._call(names)) for _ in range(callers)]

    async def go_on(self, users: int = 50) -> None:
        """Wait until this number of additional users has joined."""
        wanted = self.joined + users
        await wait_until(lambda: self.joined >= wanted or any(task.done() for task in self._tasks))

    async def stop(self) -> None:
        """Stop each caller after its current call."""
        self._is_stopping = True
        await asyncio.gather(*self._tasks)

    async def lost(self, store: Store) -> set[tuple[str, str, str]]:
        """Return the acknowledged writes that are not stored, read through a store.

        Raises:
            AssertionError: a user or message is stored twice.
        """
        present: set[tuple[str, str, str]] = set()
        for room_id in {one[0] for one in self.acknowledged}:
            found = await store.rooms.get_room(room_id)
            users = [one.id for one in found.users] if found else []
            messages = [one.id for one in await store.chat.get_messages(room_id)]
            assert len(users) == len(set(users))
            assert len(messages) == len(set(messages)), room_id
            present |= {(room_id, "user", one) for one in users} | {(room_id, "message", one) for one in messages}
        return self.acknowledged.keys() - present

    async def _call(self, names: Iterable[str]) -> None:
        for name in names:
            if self._is_stopping:
                return
            if await self._try(self.store.rooms.create_room(room(name)), (name, "user", "host")):
                for number in range(_PER_ROOM):
                    if self._is_stopping:
                        return
                    guest, text = f"u{number}", message(number, name)
                    await self._try(self.store.rooms.add_user_to_room(name, user(guest)), (name, "user", guest))
                    await self._try(self.store.chat.add_message(text), (name, "message", text.id))

    async def _try(self, call: Awaitable[object], what: tuple[str, str, str]) -> bool:
        try:
            await call
        except StoreClosedError:
            raise  # the test has failed
        except StoreError as error:
            self.errors[type(error).__name__] += 1
            return False
        self.acknowledged[what] = time.monotonic()
        self.joined += what[1] == "user"
        return True


async def check_failover(
    store: Store,
    replicated: Store,
    fail_over: Callable[[], Awaitable[None]],
    names: Callable[[str], Iterable[str]] = lambda _: (),
) -> None:
    """Write during a failover, and check that replicated writes and writes after the failover are not lost.

    Args:
        store: a store with the settings `PATIENT`.
        replicated: a store with the settings `REPLICATED`.
        fail_over: performs the failover and returns when every store writes to the new master.
        names: returns the ids of the rooms for a prefix, if they matter.
    """
    loads = [Load(store, names("A"), "A"), Load(replicated, names("R"), "R")]
    later = Load(store, names("later"), "later")
    for load in loads:
        load.start()
        await load.go_on()
    await fail_over()
    later.start()
    for load in (*loads, later):
        await load.go_on()
    for load in (*loads, later):
        await load.stop()
    assert set(loads[0].errors) <= {*_MAY_BE_RAISED, "RoomNotFoundError"}  # without replication, rooms may be lost
    await loads[0].lost(store)  # checks that nothing is stored twice
    for load in (loads[1], later):
        assert set(load.errors) <= _MAY_BE_RAISED
    assert await loads[1].lost(store) == set()
    assert await later.lost(store) == set()


async def check_moves(cluster: Cluster, store: Store, turns: int) -> None:
    """Write while slots migrate to another master and back, and check that no call fails and nothing is lost.

    Args:
        cluster: the cluster.
        store: a store with the settings `PATIENT`.
        turns: how often the slots migrate in each direction.
    """
    load = Load(store, prefix="moving-")
    names = [f"moving-{number}" for number in range(8)]
    load.start()
    await load.go_on()
    moved = 0
    for turn in range(2 * turns):
        for name in names:
            ends = (owner := cluster.home(name), (owner + 1) % 3)
            source, target = ends if turn % 2 == 0 else ends[::-1]
            moved += await asyncio.to_thread(migrate, cluster, slot_of(name), source, target)
    await load.stop()
    assert moved > len(names)
    assert load.errors == {}
    assert await load.lost(store) == set()
    rooms = {one[0] for one in load.acknowledged}
    assert {one async for one in store.rooms.active_room_ids()} >= rooms
    for name in rooms:
        await store.rooms.delete_room(name)
