"""Memory stores behind simulated connections that can be cut, with delays chosen by a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, cast

from wnc_store import OutcomeUnknownError, Store, StoreUnavailableError
from wnc_store_contract import Capability
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore

_READS = {"get_room", "get_rooms", "room_exists", "room_ttl", "get_messages", "chat_ttl", "count", "peek"}


@dataclass(frozen=True)
class Request:
    """A call of a method.

    Attributes:
        name: the name of the method.
        args: its arguments.
        apply: executes it on the server.
    """

    name: str
    args: tuple[Any, ...]
    apply: Callable[[], Awaitable[Any]]

    @property
    def is_read(self) -> bool:
        """Whether the request changes nothing."""
        return self.name in _READS


class SimulatedStore:
    """A memory store whose calls need some time to the server and back.

    If the connection is cut before the reply, reads are sent again, and writes raise the error that is true.

    Attributes:
        server: the store that executes the requests.
    """

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        self.server = server
        self.rooms = _Part(self, server.rooms)
        self.chat = _Part(self, server.chat)
        self.connections = _Part(self, server.connections)
        self.rate_limits = _Part(self, server.rate_limits)
        self._chance = chance
        self._cuts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.server.aclose()

    def cut(self) -> None:
        """Cut the connection. The store reconnects at once."""
        self._cuts += 1

    def restart(self) -> None:
        """Restart the server, which keeps its data."""
        self.cut()

    async def call(self, request: Request) -> Any:
        """Send a request and return its reply."""
        cuts = self._cuts
        await self._travel()
        if self._cuts != cuts:
            return await self.on_lost_request(request)
        result = await request.apply()
        await self._travel()
        if self._cuts != cuts:
            return await self.on_lost_reply(request, result)
        return result

    async def on_lost_request(self, request: Request) -> Any:
        """Continue after a request was lost."""
        if request.is_read:
            return await self.call(request)
        message = "the connection was lost before the request arrived"
        raise StoreUnavailableError(message)

    async def on_lost_reply(self, request: Request, _result: Any) -> Any:
        """Continue after a request was executed and its reply was lost."""
        if request.is_read:
            return await self.call(request)
        message = "the connection was lost before the reply arrived"
        raise OutcomeUnknownError(message)

    async def _travel(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.002)


class _Part:
    """A component of a store whose methods are sent as requests."""

    def __init__(self, store: SimulatedStore, part: object) -> None:
        self._store = store
        self._part = part

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name in {"active_room_ids", "active_rooms"}:
            return method

        def send(*args: Any, **options: Any) -> Awaitable[Any]:
            return self._store.call(Request(name, args, lambda: method(*args, **options)))

        return send


class SimulatedHarness(MemoryHarness):
    """Stores with simulated connections to one database.

    Args:
        kind: the class of the stores.
        is_cut: whether `disconnect` and `restart` cut the connections.
    """

    capabilities = MemoryHarness.capabilities | {Capability.DISCONNECT, Capability.RESTART}

    def __init__(self, kind: type[SimulatedStore] = SimulatedStore, *, is_cut: bool = True) -> None:
        super().__init__()
        self._kind = kind
        self._is_cut = is_cut
        self._chance = random.Random(0)  # noqa: S311 - repeatable
        self._stores: list[SimulatedStore] = []

    def open_store(self, **settings: Any) -> Store:  # type: ignore[override]
        """Return a new store."""
        store = self._kind(super().open_store(**settings), self._chance)
        self._stores.append(store)
        return cast("Store", store)

    async def disconnect(self) -> None:
        """Cut the connections of all stores."""
        if self._is_cut:
            for store in self._stores:
                store.cut()

    async def restart(self) -> None:
        """Restart the server."""
        if self._is_cut:
            for store in self._stores:
                store.restart()
