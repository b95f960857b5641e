"""One call of every method, for clauses about all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from wnc_store import (
    ChatMessage,
    ChatStore,
    ConnectionCounter,
    RateLimiter,
    Resync,
    RoomEvents,
    RoomStore,
    StoreError,
    VideoState,
)
from wnc_store_contract.factories import message, room, user

Call = Callable[[], Awaitable[object]]


def like(before: ChatMessage) -> ChatMessage:
    """Return the message with one more like."""
    return before.model_copy(update={"likes": before.model_extra.get("likes", 0) + 1})


def room_calls(rooms: RoomStore, room_id: str) -> Sequence[Call]:
    """Return one call of each method that takes a room id."""
    return (
        lambda: rooms.create_room(room(room_id)),
        lambda: rooms.get_room(room_id),
        lambda: rooms.get_rooms([room_id]),
        lambda: rooms.update_room(room_id, room(room_id)),
        lambda: rooms.edit_room(room_id, lambda found: found),
        lambda: rooms.delete_room(room_id),
        lambda: rooms.room_exists(room_id),
        lambda: rooms.add_user_to_room(room_id, user("guest")),
        lambda: rooms.remove_user_from_room(room_id, "guest"),
        lambda: rooms.transfer_host(room_id, "guest"),
        lambda: rooms.rotate_host_token(room_id),
        lambda: rooms.update_video_state(room_id, VideoState()),
        lambda: rooms.set_video_url(room_id, "https://video.example/1"),
        lambda: rooms.room_ttl(room_id),
    )


def user_calls(rooms: RoomStore, user_id: str) -> Sequence[Call]:
    """Return one call of each method that takes a user or a user id."""
    return (
        lambda: rooms.create_room(room("other", user_id)),
        lambda: rooms.update_room("A3X9K2", room("A3X9K2", "host", user_id)),
        lambda: rooms.edit_room("A3X9K2", lambda found: found.model_copy(update={"host_id": user_id})),
        lambda: rooms.add_user_to_room("A3X9K2", user(user_id)),
        lambda: rooms.remove_user_from_room("A3X9K2", user_id),
        lambda: rooms.transfer_host("A3X9K2", user_id),
    )


def chat_calls(chat: ChatStore, room_id: str) -> Sequence[Call]:
    """Return one call of each method of the chat."""
    return (
        lambda: chat.add_message(message(1, room_id)),
        lambda: chat.edit_message(room_id, "m1", like),
        lambda: chat.remove_message(room_id, "m1"),
        lambda: chat.get_messages(room_id),
        lambda: chat.clear_messages(room_id),
        lambda: chat.chat_ttl(room_id),
    )


def event_calls(events: RoomEvents, room_id: str) -> Sequence[Call]:
    """Return one call of each method of the events; a subscription is entered and left."""

    async def subscribe() -> None:
        async with events.subscribe(room_id):
            pass

    return (subscribe, lambda: events.publish(room_id, Resync(room_id=room_id)))


def connection_calls(connections: ConnectionCounter, key: str, connection_id: str) -> Sequence[Call]:
    """Return one call of each method of the connections."""
    return (
        lambda: connections.acquire(key, connection_id),
        lambda: connections.release(key, connection_id),
        lambda: connections.count(key),
    )


def rate_limit_calls(rate_limits: RateLimiter, key: str) -> Sequence[Call]:
    """Return one call of each method of the rate limits."""
    return (
        lambda: rate_limits.hit(key),
        lambda: rate_limits.peek(key),
        lambda: rate_limits.reset(key),
    )


async def all_raise(error: type[StoreError], calls: Sequence[Call]) -> None:
    """Assert that each call raises the error."""
    for call in calls:
        with pytest.raises(error):
            await call()
