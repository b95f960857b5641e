"""The data of all contenders: rooms of five users with a video and twenty messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from wnc_store import ChatMessage, Room, User, VideoState, to_wire
from wnc_store_bench.server import Target, plain_client

USERS = 5
KEPT = 20
"""Number of messages that a chat keeps, as in the Node app."""

DAY = 86_400
"""The TTL of rooms and chats in seconds."""

_PAGE = 200
_EPOCH_MS = 1_767_225_600_000
_EPOCH = datetime(2026, 1, 1, 12, 0, 0, 125_000, tzinfo=UTC)
_TEXT = "did you see that? she was behind the door all the time"


def room_ids(count: int) -> list[str]:
    """Return the ids of a number of rooms."""
    return [f"R{number:06d}" for number in range(count)]


def user_id(number: int) -> str:
    """Return the id of a user. Number 0 is the host of every room."""
    return f"user-{number:05d}"


def user(number: int) -> User:
    """Return a user. Number 0 is the host of every room."""
    return User(id=user_id(number), name=f"Person {number:05d}", is_host=number == 0, joined_at=_EPOCH)


def room(room_id: str, users: int = USERS) -> Room:
    """Return a room with a number of users. Its host token depends only on its id, so all runs store the same bytes."""
    guests = tuple(user(number) for number in range(users))
    return Room(
        id=room_id,
        host_id=guests[0].id,
        host_name=guests[0].name,
        host_token=str(uuid.uuid5(uuid.NAMESPACE_OID, room_id)),
        video_url="https://www.youtube.com/watch?v=aqz-KE-bpKQ",
        video_type="youtube",
        video_state=VideoState(is_playing=True, current_time=125.25, duration=634.5, last_update_time=_EPOCH_MS),
        users=guests,
        created_at=_EPOCH,
    )


def message(room_id: str, message_id: str) -> ChatMessage:
    """Return a message of the host."""
    host = user_id(0)
    return ChatMessage(
        id=message_id, room_id=room_id, user_id=host, user_name="Person 00000", message=_TEXT, timestamp=_EPOCH_MS
    )


async def seed(target: Target, room_ids: Sequence[str], users: int = USERS) -> None:
    """Replace a contender's data by rooms with a number of users and 20 messages each, under the Node app's keys."""
    async with plain_client(target.url) as client:
        for start in range(0, len(room_ids), _PAGE):
            page = client.pipeline(transaction=False)
            for room_id in room_ids[start : start + _PAGE]:
                chat = f"{target.prefix}chat:{room_id}"
                page.set(f"{target.prefix}room:{room_id}", to_wire(room(room_id, users)), ex=DAY)
                page.sadd(f"{target.prefix}active-rooms", room_id)
                page.delete(chat)
                page.rpush(chat, *(to_wire(message(room_id, f"kept-{number}")) for number in range(KEPT)))
                page.expire(chat, DAY)
            page.expire(f"{target.prefix}active-rooms", DAY)
            await page.execute()


async def stored_users(target: Target, room_id: str) -> list[str]:
    """Return the ids of the users that are stored in a room."""
    async with plain_client(target.url) as client:
        text = await client.get(f"{target.prefix}room:{room_id}")
    return [user["id"] for user in json.loads(text)["users"]]
