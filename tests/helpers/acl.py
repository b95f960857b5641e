"""Redis users with the permissions that docs/redis-acl.md documents, parsed from the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

from redis_server import RedisServer
from wnc_store import RoomChanged, StoreError, VideoState
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

PAGE = Path(__file__).resolve().parents[2] / "docs" / "redis-acl.md"
PLAIN, PREFIXED = (line.split() for line in re.findall(r"^ACL SETUSER (.+)$", PAGE.read_text(), re.MULTILINE))
"""The arguments of the two documented commands: the name of the user, then the permissions."""
DOCUMENTED_PREFIX = "app:"


def words(key_prefix: str = "") -> list[str]:
    """Return the arguments for a key prefix."""
    if not key_prefix:
        return PLAIN
    name, *permissions = PREFIXED
    patterns = {word: word.replace(DOCUMENTED_PREFIX, key_prefix, 1) for word in permissions if word[0] in "~&"}
    return [f"{name}-{key_prefix}", *(patterns.get(word, word) for word in permissions)]


def permit(server: RedisServer, key_prefix: str = "", *more: str, without: str = "") -> str:
    """Create the user for a key prefix, with additional arguments or without one, and return its URL."""
    line = [word for word in words(key_prefix) if word != without]
    plain: Any = Redis(unix_socket_path=str(server.socket))
    with plain as administrator:
        administrator.execute_command("ACL", "SETUSER", *line, *more)
    return url_for(server, key_prefix)


def url_for(server: RedisServer, key_prefix: str = "") -> str:
    """Return the URL of the user for a key prefix."""
    name, *permissions = words(key_prefix)
    password = next(word[1:] for word in permissions if word.startswith(">"))
    return server.url.replace("://", f"://{quote(name, safe='')}:{quote(password, safe='')}@")


async def refusals(store: RedisStore) -> list[StoreError]:
    """Call every operation and return the errors. The server does not know the scripts before the first call."""
    rooms, chat, connections, limits = store.rooms, store.chat, store.connections, store.rate_limits

    async def listed() -> list[str]:
        return [one async for one in rooms.active_room_ids()]

    async def subscribe() -> None:
        async with store.events.subscribe("A"):
            pass

    errors: list[StoreError] = []
    for operation in (
        store.ping,
        subscribe,
        subscribe,  # the error of unsubscribing arrives with the second call
        lambda: store.events.publish("A", RoomChanged(room_id="A")),
        lambda: rooms.create_room(room("A")),
        lambda: rooms.create_room(room("B")),
        lambda: rooms.get_room("A"),
        lambda: rooms.room_exists("A"),
        lambda: rooms.room_ttl("A"),
        listed,
        lambda: rooms.update_room("A", room("A")),
        lambda: rooms.edit_room("A", lambda found: found),
        lambda: rooms.add_user_to_room("A", user("guest")),
        lambda: rooms.transfer_host("A", "guest"),
        lambda: rooms.update_video_state("A", VideoState(is_playing=True, current_time=1, duration=2)),
        lambda: rooms.set_video_url("A", "https://video.example/1"),
        lambda: rooms.remove_user_from_room("A", "guest"),
        rooms.sweep_active_rooms,
        lambda: chat.add_message(message(1, "A")),
        lambda: chat.get_messages("A"),
        lambda: chat.chat_ttl("A"),
        lambda: chat.clear_messages("A"),
        lambda: connections.acquire("ip", "c1", limit=2),
        lambda: connections.count("ip"),
        lambda: connections.release("ip", "c1"),
        lambda: limits.hit("ip"),
        lambda: limits.hit("ip"),
        lambda: limits.peek("ip"),
        lambda: limits.reset("ip"),
        lambda: rooms.delete_room("A"),
    ):
        try:
            await operation()
        except StoreError as error:
            errors.append(error)
    return errors
