"""The context manager that an app opens once per process."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Literal, Self, TypeVar
from uuid import uuid4

from wnc_store.base.ids import check_id
from wnc_store.clock import Clock, SystemClock
from wnc_store.errors import CorruptRecordError, NotSupportedError, OutcomeUnknownError, StoreClosedError
from wnc_store.presence.connection import Connection, ConnectionState, retrieve_error
from wnc_store.presence.membership import Member, Membership
from wnc_store.presence.sweeper import Sweeper
from wnc_store.protocols import Store
from wnc_store.records.models import Room, User
from wnc_store.settings import check_duration

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_logger = logging.getLogger("wnc_store")

_MAX_CONCURRENT = 100
"""Largest number of calls that wait for the store at once, so that the calls of the app are not delayed."""

_PERMANENT = StoreClosedError, NotSupportedError
"""Errors that every later call would raise, too. They are raised to the callers that open a connection."""


class Presence:
    """Keeps users in their rooms while they are connected, and removes them afterwards.

    Enter `async with Presence(store, grace=...) as presence:` once per process, inside the context of the store and in
    its event loop. Two background tasks run until the context is left, and one task for each connection that was closed
    less than the grace period ago. All processes should use the same grace period.

    Args:
        store: The store of the rooms.
        grace: How long a user may be disconnected before the user leaves the room: 1 ms to 36500 days, truncated to
            whole milliseconds. The leases of connections last as long.
        clock: Measures the grace period after a connection to this process was closed. Default: the system clock.

    Raises:
        TypeError: `grace` is not a `timedelta`.
        ValueError: `grace` is shorter than 1 ms or longer than 36500 days.
    """

    def __init__(self, store: Store, *, grace: timedelta, clock: Clock | None = None) -> None:
        self._grace = check_duration("grace", grace)
        self._rooms = store.rooms
        self._connections = store.connections
        self._clock = clock or SystemClock()
        self._membership = Membership(store, lambda member: member in self._open_members)
        self._sweeper = Sweeper(store, self._membership, uuid4().hex, self._grace)
        self._open: dict[str, ConnectionState] = {}
        self._open_members: Counter[Member] = Counter()
        self._phase: Literal["new", "running", "closed"] = "new"
        self._background: set[asyncio.Task[Any]] = set()
        self._changing: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Start the background tasks.

        Raises:
            RuntimeError: The context was entered before.
        """
        if self._phase != "new":
            raise RuntimeError(f"this Presence is {self._phase}: create another one")
        self._phase = "running"
        seconds = self._grace.total_seconds()
        _start(self._background, self._repeat("renew the leases of connections", seconds / 3, self._renew))
        _start(self._background, self._repeat("sweep rooms", seconds / 2, self._sweeper.sweep))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the background tasks. Users stay in their rooms."""
        self._phase = "closed"
        for task in self._background:
            task.cancel()
        if tasks := self._background | self._changing:
            await asyncio.wait(tasks)  # if this is cancelled, the connections still end
        try:
            await self._sweeper.resign()
        except _PERMANENT:
            pass
        except Exception as error:  # noqa: BLE001 - must not replace an error of the app; the lease expires
            _logger.warning("could not hand over the sweeps of rooms: %s", error)

    @asynccontextmanager
    async def connected(
        self, room_id: str, user: User, *, join: Callable[[Room], Room] | None = None
    ) -> AsyncGenerator[Connection]:
        """Keep a user in a room while a connection is open: `async with presence.connected(room_id, user): ...`.

        Entering the context adds the user to the room. If the user is in the room, for example after a reload, nothing
        changes and the user keeps the name of the first join. Leaving the context starts the grace period. It never
        raises an error of the store. If the task is cancelled, it ends the connection in the background.

        Args:
            room_id: Id of the room.
            user: The user.
            join: A pure function that returns the room with the user, or raises an error to refuse the user. It is
                called as by `edit_room`, and only if the user is not in the room. By default it appends the user, as
                `add_user_to_room` does.

        Raises:
            RoomNotFoundError: The room does not exist.
            InvalidIdError: The room id or the user id is invalid.
            NotSupportedError: The backend does not count connections.
            StoreError: Another error of the store. The user was not added, except if it is an `OutcomeUnknownError`.
            ValueError: `join` returned a room without the user.
            RuntimeError: The context of this `Presence` was not entered, or was left.
            Exception: An error of `join`.
        """
        check_id("room id", room_id)
        check_id("user id", user.id)
        if self._phase != "running":
            raise RuntimeError(f"this Presence is {self._phase}: connect inside `async with Presence(...)`")
        state = ConnectionState(Member(room_id, user.id))
        # Both steps run in separate tasks, so that a cancelled caller leaves no lease behind.
        opening = _start(self._changing, self._connect(state, user, join))
        try:
            yield Connection(state, await asyncio.shield(opening), partial(self._leave, state))
        finally:
            await asyncio.shield(_start(self._changing, self._disconnect(state, opening)))

    async def present(self, room_id: str) -> list[User]:
        """Return the users of a room who have an open connection to any process, in the order of the room's users.

        Users of a crashed process are included until their leases end.

        Returns:
            The users. An empty list if the room does not exist.

        Raises:
            StoreError: The store failed.
        """
        room = await self._rooms.get_room(room_id)
        users = () if room is None else room.users  # another client may have replaced a connected user
        members = [Member(room_id, user.id) for user in users]
        connected = await _in_batches(self._membership.is_connected, members)
        return [user for user, is_connected in zip(users, connected, strict=True) if is_connected]

    async def _connect(self, state: ConnectionState, user: User, join: Callable[[Room], Room] | None) -> Room:
        await self._connections.acquire(state.keys.open, state.id, ttl=self._grace)
        self._register(state)  # its lease is renewed while it waits
        if not await self._membership.wait_for_removal(state.keys, lambda: state.closed):
            raise asyncio.CancelledError  # to nobody, as the caller was cancelled
        try:
            room = await self._membership.add(state.member.room_id, user, join)
        except OutcomeUnknownError:
            state.may_be_in_room = True
            raise
        state.may_be_in_room = True
        return room

    async def _disconnect(self, state: ConnectionState, opening: asyncio.Task[Room]) -> None:
        """End a connection. The grace period starts if the user may be in the room."""
        state.closed = True
        await asyncio.wait([opening])
        retrieve_error(opening)
        self._unregister(state)
        if state.has_left:
            return
        try:
            async with state.lock:
                if state.may_be_in_room:
                    await self._connections.acquire(state.keys.grace, state.id, ttl=self._grace)
                await self._connections.release(state.keys.open, state.id)
        except _PERMANENT:
            return
        except Exception as error:  # noqa: BLE001 - must not replace an error of the endpoint; the lease expires
            _logger.warning("could not end a connection to room %s, its lease expires: %s", state.member.room_id, error)
        if state.may_be_in_room and self._phase == "running":
            _start(self._background, self._remove_after_grace(state))

    async def _leave(self, state: ConnectionState) -> bool:
        leaving = _start(self._changing, self._remove_now(state))
        leaving.add_done_callback(retrieve_error)
        return await asyncio.shield(leaving)

    async def _remove_now(self, state: ConnectionState) -> bool:
        self._unregister(state)
        state.leaving += 1
        try:
            async with state.lock:
                await self._connections.release(state.keys.open, state.id)
            absent = await self._membership.remove(state.member, despite_grace=True)
            state.has_left = True
            return absent
        finally:
            state.leaving -= 1
            if not (state.leaving or state.has_left or state.closed):
                self._register(state)

    async def _remove_after_grace(self, state: ConnectionState) -> None:
        """Remove the user after the grace period, unless the user has another lease then."""
        while self._phase == "running":  # an error may have replaced the cancellation of this task
            await self._pass_grace()
            try:
                # By the clock of the server, the lease may end a little later.
                others = await self._connections.release(state.keys.grace, state.id)
                if not others and not await self._membership.is_connected(state.member):
                    await self._membership.remove(state.member, despite_grace=False)
            except _PERMANENT:
                return
            except Exception as error:  # noqa: BLE001 - leases may have expired, so the user gets the grace period again
                _logger.warning("could not remove a user from room %s, retrying: %s", state.member.room_id, error)
            else:
                return

    async def _pass_grace(self) -> None:
        end_ms = self._clock.monotonic_ms() + self._grace // timedelta(milliseconds=1)
        while True:
            remaining = (end_ms - self._clock.monotonic_ms()) / 1000
            if remaining <= 0:
                return
            await asyncio.sleep(min(remaining, self._grace.total_seconds() / 3))  # a test may move the clock

    def _register(self, state: ConnectionState) -> None:
        self._open[state.id] = state
        self._open_members[state.member] += 1

    def _unregister(self, state: ConnectionState) -> None:
        if self._open.pop(state.id, None) is None:
            return
        self._open_members[state.member] -= 1
        if not self._open_members[state.member]:
            del self._open_members[state.member]

    async def _renew(self) -> None:
        """Renew the leases of the open connections, then find the users who are missing from their rooms."""
        states = list(self._open.values())
        by_room: dict[str, list[ConnectionState]] = {}
        for state in states:
            if state.may_be_in_room:
                by_room.setdefault(state.member.room_id, []).append(state)
        errors = [
            *await _in_batches(partial(_caught, self._renew_lease), states),
            *await _in_batches(partial(_caught, self._find_missing), by_room.values()),
        ]
        for error in errors:
            if error is not None:
                raise error

    async def _renew_lease(self, state: ConnectionState) -> None:
        async with state.lock:
            if state.id in self._open:
                await self._connections.acquire(state.keys.open, state.id, ttl=self._grace)

    async def _find_missing(self, states: Sequence[ConnectionState]) -> None:
        """Notify the connections to a room whose users are not in it. They had joined before the room is read."""
        try:
            room = await self._rooms.get_room(states[0].member.room_id)
        except CorruptRecordError:
            return  # nothing is known about its users
        user_ids = set[str]() if room is None else {user.id for user in room.users}
        for state in states:
            if state.member.user_id in user_ids:
                state.removed.clear()
            else:
                state.removed.set()

    async def _repeat(self, what: str, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Run an action repeatedly until the store is closed. Errors are logged once, and retried sooner."""
        failing = False
        while self._phase == "running":  # an error may have replaced the cancellation of this task
            await asyncio.sleep(seconds / 4 if failing else seconds)
            try:
                await action()
            except _PERMANENT:
                return
            except Exception as error:  # noqa: BLE001 - no error may end the connections of this process
                if not failing:
                    _logger.warning("could not %s, retrying: %s", what, error)
                failing = True
            else:
                failing = False


def _start(tasks: set[asyncio.Task[Any]], operation: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
    """Start a task that is in `tasks` until it is done."""
    task = asyncio.create_task(operation)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def _caught(call: Callable[[ItemT], Awaitable[None]], item: ItemT) -> Exception | None:
    # The call is made here, as a task that is cancelled before it starts would never await a coroutine that exists.
    try:
        await call(item)
    except Exception as error:  # noqa: BLE001 - raised after all operations have run
        return error
    return None


async def _in_batches(call: Callable[[ItemT], Awaitable[ResultT]], items: Iterable[ItemT]) -> list[ResultT]:
    """Call a function with each item, with few calls at once. Return the results in the order of the items."""
    results: list[ResultT] = []
    items = list(items)
    for start in range(0, len(items), _MAX_CONCURRENT):
        results += await asyncio.gather(*(call(item) for item in items[start : start + _MAX_CONCURRENT]))
    return results
