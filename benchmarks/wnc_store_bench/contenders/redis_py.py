"""The Node app's commands on redis-py, alone and with the two usual remedies for lost updates."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from wnc_store_bench.contenders.pool import POOL, connection_pool
from wnc_store_bench.contenders.session import Contender
from wnc_store_bench.contenders.wire import DAY, seed, users
from wnc_store_bench.load import Client
from wnc_store_bench.records import KEPT, message
from wnc_store_bench.server import Target

Json = dict[str, Any]


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


class WatchClient(NodeAppClient):
    """A join by WATCH, GET, MULTI, SETEX and EXEC, repeated after each conflict."""

    async def join(self, room_id: str, user_id: str) -> Json:
        """See `Client.join`."""
        key = f"{self._prefix}room:{room_id}"
        async with self._client.pipeline(transaction=True) as pipe:
            while True:
                try:
                    await pipe.watch(key)
                    room = with_user(parse_room(await pipe.get(key)), user_id)
                    pipe.multi()
                    pipe.execute_command("SETEX", key, DAY, room_text(room))
                    await pipe.execute()
                except WatchError:
                    continue
                return room


class LockClient(NodeAppClient):
    """A join by GET and SETEX under redis-py's Lock with its defaults, which polls every 0.1 s."""

    async def join(self, room_id: str, user_id: str) -> Json:
        """See `Client.join`."""
        async with self._client.lock(f"{self._prefix}lock:{room_id}", timeout=10):
            return await super().join(room_id, user_id)


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


def _connected(kind: Callable[[Any, str], Client]) -> Callable[[Target], AbstractAsyncContextManager[Client]]:
    @asynccontextmanager
    async def connect(target: Target) -> AsyncGenerator[Client]:
        pool = connection_pool(target, decode_responses=True)
        async with Redis(connection_pool=pool) as client:
            yield kind(client, target.prefix)
        await pool.aclose()

    return connect


_COMMON = f"redis-py asyncio with hiredis, {POOL}, decode_responses, the standard json"
REDIS_PY = Contender("redis-py", f"the Node app's commands; {_COMMON}", seed, users, _connected(NodeAppClient))
WATCH = Contender(
    "watch-multi",
    f"the Node app's commands, a join in WATCH/MULTI; {_COMMON}",
    seed,
    users,
    _connected(WatchClient),
    operations=("add_user_to_room",),
    keeps_all=True,
)
LOCK = Contender(
    "redis-py-lock",
    f"the Node app's commands, a join under redis-py's Lock with its defaults; {_COMMON}",
    seed,
    users,
    _connected(LockClient),
    operations=("add_user_to_room",),
    keeps_all=True,
)
