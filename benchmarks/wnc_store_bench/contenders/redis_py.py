"""The Node app's commands on redis-py."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis

from wnc_store_bench.contenders.session import Contender
from wnc_store_bench.records import DAY, KEPT, message
from wnc_store_bench.server import Target

Json = dict[str, Any]

_WAIT = 60
"""Seconds that a caller waits for a connection, as long as a task may take."""


class NodeAppClient:
    """GET and SETEX for a join; RPUSH, LTRIM and EXPIRE for a message. Concurrent joins can be lost."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def get_room(self, room_id: str) -> Json:
        """See `Client.get_room`."""
        return parse_room(await self._client.get(f"{self._prefix}room:{room_id}"))

    async def join(self, room_id: str, user_id: str) -> Json:
        """See `Client.join`."""
        room = with_user(await self.get_room(room_id), user_id)
        await self._client.execute_command("SETEX", f"{self._prefix}room:{room_id}", DAY, room_text(room))
        return room

    async def add_message(self, room_id: str, message_id: str) -> None:
        """See `Client.add_message`."""
        key = f"{self._prefix}chat:{room_id}"
        await self._client.rpush(key, text_of(message_fields(room_id, message_id)))
        await self._client.ltrim(key, -KEPT, -1)
        await self._client.expire(key, DAY)

    async def get_messages(self, room_id: str) -> list[Json]:
        """See `Client.get_messages`."""
        return [json.loads(text) for text in await self._client.lrange(f"{self._prefix}chat:{room_id}", 0, -1)]


def parse_room(text: str) -> Json:
    """Parse a room and convert its dates, as the Node app does."""
    room = json.loads(text)
    room["createdAt"] = datetime.fromisoformat(room["createdAt"])
    for user in room["users"]:
        user["joinedAt"] = datetime.fromisoformat(user["joinedAt"])
    return room


def with_user(room: Json, user_id: str) -> Json:
    """Add a user at the end of a room, and remove an earlier entry with that id."""
    user = {"id": user_id, "name": user_id, "isHost": False, "joinedAt": datetime.now(UTC)}
    room["users"] = [*(other for other in room["users"] if other["id"] != user_id), user]
    return room


def room_text(room: Json) -> str:
    """Return a room as JSON with dates in the Node app's format."""
    return json.dumps(room, ensure_ascii=False, separators=(",", ":"), default=_iso)


def _iso(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_fields(room_id: str, message_id: str) -> Json:
    """Return a message as the Node app stores it."""
    fields = dict(_MESSAGE)
    fields["id"] = message_id
    fields["roomId"] = room_id
    return fields


def text_of(value: Json) -> str:
    """Return a record as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_MESSAGE: Json = message("room", "id").to_json()


@asynccontextmanager
async def _connect(target: Target) -> AsyncGenerator[NodeAppClient]:
    pool = _pool(target)
    async with Redis(connection_pool=pool) as client:
        yield NodeAppClient(client, target.prefix)
    await pool.aclose()


def _pool(target: Target) -> Any:
    """Return the default pool of `Redis.from_url`, which is faster, or a blocking pool if callers have to wait."""
    options: dict[str, Any] = {"max_connections": target.connections, "decode_responses": True}
    if target.waits:
        return BlockingConnectionPool.from_url(target.url, timeout=_WAIT, **options)  # pyright: ignore[reportUnknownMemberType]
    return ConnectionPool.from_url(target.url, **options)  # pyright: ignore[reportUnknownMemberType]


REDIS_PY = Contender(
    "redis-py",
    "the Node app's commands on redis-py asyncio with hiredis, decode_responses and the standard json; ConnectionPool "
    "with one connection per caller, for concurrent joins BlockingConnectionPool",
    _connect,
)
