"""Workers of an app with presence: several stores in memory on the same data, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from virtual_time import now
from wnc_store import Room, StoreSettings, StoreUnavailableError, User
from wnc_store.presence import Connection, Presence
from wnc_store_memory import MemoryDatabase, MemoryStore

GRACE = 12.0
"""The grace period in seconds. Leases are renewed every 4 s, rooms swept every 6 s."""
ROOM = "A3X9K2"


class LoopClock:
    """A clock that reads the virtual time of the running event loop."""

    def now_ms(self) -> int:
        """Return the time of the loop in milliseconds."""
        return round(now() * 1000)

    def monotonic_ms(self) -> int:
        """Return the time of the loop in milliseconds."""
        return round(now() * 1000)


class Gate:
    """Forwards the calls of a part of a store, except those that a test blocks or lets fail.

    As on a server, a call that was sent is executed even if its caller is cancelled.

    Attributes:
        is_down: Whether every call raises `StoreUnavailableError`.
        calls: The names of the calls, in order.
        before: Awaited before the call with this name.
        after: Awaited after the call with this name.
    """

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.is_down = False
        self.calls: list[str] = []
        self.before: dict[str, Callable[[], Awaitable[object]]] = {}
        self.after: dict[str, Callable[[], Awaitable[object]]] = {}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def forward(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if self.is_down:
                raise StoreUnavailableError("the server is away")
            if name not in self.before and name not in self.after:
                return await call(*arguments, **options)

            async def execute() -> Any:
                await self.before.get(name, _nothing)()
                result = await call(*arguments, **options)
                await self.after.get(name, _nothing)()
                return result

            return await asyncio.shield(asyncio.ensure_future(execute()))

        return call if name == "active_room_ids" else forward


async def _nothing() -> None:
    pass


def blocking(error: Exception | None = None) -> tuple[asyncio.Event, asyncio.Event, Callable[[], Awaitable[object]]]:
    """Return a function for `Gate.before` that blocks a call.

    Args:
        error: Raised when the call continues.

    Returns:
        An event that the call sets, an event that lets the call continue, and the function.
    """
    reached, proceed = asyncio.Event(), asyncio.Event()

    async def block() -> None:
        reached.set()
        await proceed.wait()
        if error is not None:
            raise error

    return reached, proceed, block


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged warnings."""
    return [record.getMessage() for record in caplog.records]


class Socket:
    """A socket of a user, which holds a connection."""

    def __init__(self, context: AbstractAsyncContextManager[Connection], connection: Connection) -> None:
        self._context = context
        self.connection = connection

        self._is_open = True

    async def close(self) -> None:
        """Close the socket, if it is open."""
        if self._is_open:
            self._is_open = False
            await self._context.__aexit__(None, None, None)


class Worker:
    """A process of the app.

    Attributes:
        rooms: The rooms of its store.
        leases: The connection counter of its store.
    """

    def __init__(self, database: MemoryDatabase, grace: float, **settings: Any) -> None:
        self.store: Any = MemoryStore(StoreSettings(room_ttl=timedelta(hours=1), **settings), database=database)
        self.rooms = self.store.rooms = Gate(self.store.rooms)
        self.leases = self.store.connections = Gate(self.store.connections)
        self.presence = Presence(self.store, grace=timedelta(seconds=grace), clock=LoopClock())
        self._sockets: list[Socket] = []

    async def connect(self, user_id: str, room_id: str = ROOM, *, join: Callable[[Room], Room] | None = None) -> Socket:
        """Open a socket of a user."""
        context = self.presence.connected(room_id, User(id=user_id, name=user_id.title()), join=join)
        self._sockets.append(Socket(context, await context.__aenter__()))
        return self._sockets[-1]

    async def stop(self) -> None:
        """Close all sockets and stop, as a web server does that is shut down."""
        for socket in self._sockets:
            await socket.close()
        await self.presence.__aexit__()

    def crash(self) -> None:
        """End as a killed process does: nothing that the process does reaches the server."""
        for task in self.presence._background:
            task.cancel()
        self.rooms.is_down = self.leases.is_down = True

    async def users(self, room_id: str = ROOM) -> list[str]:
        """Return the ids of the users of a room. An empty list if the room does not exist."""
        room: Room | None = await self.store.rooms._inner.get_room(room_id)
        return [] if room is None else [user.id for user in room.users]

    async def revision(self) -> int:
        """Return the revision of the room."""
        room: Room | None = await self.store.rooms._inner.get_room(ROOM)
        assert room is not None
        return room.rev

    async def present(self, room_id: str = ROOM) -> list[str]:
        """Return the ids of the users who are connected."""
        return [user.id for user in await self.presence.present(room_id)]


class Workers:
    """The workers of an app, and the data of their store."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.database = MemoryDatabase(LoopClock())

    async def start(self, **settings: Any) -> Worker:
        """Start a worker whose store has these settings."""
        worker = Worker(self.database, GRACE, **settings)
        await worker.presence.__aenter__()
        self._stack.push_async_callback(worker.stop)
        return worker


@asynccontextmanager
async def workers_of_an_app() -> AsyncGenerator[Workers]:
    """Yield the workers, and stop them at the end. No task is left."""
    async with AsyncExitStack() as stack:
        yield Workers(stack)
    assert asyncio.all_tasks() == {asyncio.current_task()}
