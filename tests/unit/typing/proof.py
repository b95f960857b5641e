"""Never executed: pyright proves here that each backend is what the protocols ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, assert_type

if TYPE_CHECKING:
    from wnc_store import (
        Backend,
        ChatMessage,
        ChatReader,
        ChatStore,
        Clock,
        ManualClock,
        Room,
        RoomEvent,
        RoomEvents,
        RoomReader,
        RoomStore,
        Store,
        SupportsRestore,
        SupportsServerActivity,
        SystemClock,
        User,
        open_store,
    )
    from wnc_store.otel import instrument
    from wnc_store_memory import MemoryStore, open_memory
    from wnc_store_redis import RedisStore, open_redis

    async def _every_backend_is_a_store(memory: MemoryStore, redis: RedisStore) -> None:
        _stores: list[Store] = [memory, redis]
        _rooms: list[RoomStore] = [memory.rooms, redis.rooms]
        _chats: list[ChatStore] = [memory.chat, redis.chat]
        _readers: tuple[RoomReader, ChatReader] = (memory.rooms, redis.chat)
        _events: list[RoomEvents] = [memory.events, redis.events]
        _backends: list[Backend] = [open_memory, open_redis]
        _restorers: list[SupportsRestore] = [memory, redis]
        _asked: SupportsServerActivity = redis
        _clocks: list[Clock] = [ManualClock(), SystemClock()]

    async def _the_types_are_precise(store: Store) -> None:
        assert_type(open_store(), Store)
        assert_type(instrument(store), Store)
        async with store as entered:
            assert_type(entered, Store)
        assert_type(await store.rooms.get_room("A"), Room | None)
        assert_type(await store.rooms.get_rooms(["A"]), list[Room | None])
        assert_type(await store.rooms.create_room_with_code(User(id="u", name="Ada"), length=8), Room)
        assert_type(await store.rooms.rotate_host_token("A"), str)
        assert_type(await store.rooms.transfer_host("A", "u", rotate_token=True), Room)
        assert_type([room async for room in store.rooms.active_rooms()], list[Room])
        assert_type(await store.rooms.remove_user_from_room("A", "u"), Room | None)
        assert_type(await store.rooms.edit_room("A", lambda room: room), Room)
        assert_type(await store.rooms.delete_room("A"), bool)
        assert_type(await store.rooms.room_ttl("A"), timedelta | None)
        assert_type([room_id async for room_id in store.rooms.active_room_ids()], list[str])
        assert_type(await store.chat.get_messages("A"), list[ChatMessage])
        assert_type(await store.chat.edit_message("A", "m", lambda message: message), ChatMessage | None)
        assert_type(await store.chat.remove_message("A", "m"), bool)
        async with store.events.subscribe("A") as events:
            assert_type(events, AsyncIterator[RoomEvent])
            assert_type(await anext(events), RoomEvent)
