"""wnc-store on Redis."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from wnc_store import ChatMessage, Room, Store, StoreSettings, User, open_store
from wnc_store_bench.contenders.session import Contender
from wnc_store_bench.records import message
from wnc_store_bench.server import Target


class StoreClient:
    """The `Client` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_room(self, room_id: str) -> Room | None:
        """See `Client.get_room`."""
        return await self._store.rooms.get_room(room_id)

    async def join(self, room_id: str, user_id: str) -> Room:
        """See `Client.join`."""
        return await self._store.rooms.add_user_to_room(room_id, User(id=user_id, name=user_id))

    async def add_message(self, room_id: str, message_id: str) -> None:
        """See `Client.add_message`."""
        await self._store.chat.add_message(message(room_id, message_id))

    async def get_messages(self, room_id: str) -> list[ChatMessage]:
        """See `Client.get_messages`."""
        return await self._store.chat.get_messages(room_id)


@asynccontextmanager
async def connect(target: Target, **settings: Any) -> AsyncGenerator[StoreClient]:
    """Open a store with default settings, except for the given ones."""
    async with open_store(target.url, settings=StoreSettings(key_prefix=target.prefix, **settings)) as store:
        yield StoreClient(store)


WNC = Contender("wnc-store", "this library with its defaults, `open_store(url)`", connect)
