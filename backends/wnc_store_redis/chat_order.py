"""The order in which chats are stored, and a health check that compares it with stored chats."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wnc_store import ChatMessage, CorruptRecordError, HealthCheck, StoreError, StoreSettings, from_wire
from wnc_store_redis.keys import Keys, text
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import CommandExecutor

_SAMPLED_CHATS = 20
"""How many chats are compared with the setting."""

_BUCKETS_AT_ONCE = 64

_OTHER_ORDER = {"oldest_first": "newest_first", "newest_first": "oldest_first"}


class ChatOrder:
    """The order of the entries in the lists of chats.

    Attributes:
        is_newest_first: whether a list begins with the newest entry.
        kept: the arguments of LRANGE for the entries that a chat keeps.
    """

    def __init__(self, settings: StoreSettings) -> None:
        limit = settings.chat_history_limit
        self.is_newest_first = settings.chat_order == "newest_first"
        self.kept = (b"0", b"%d" % (limit - 1)) if self.is_newest_first else (b"-%d" % limit, b"-1")

    def oldest_first(self, entries: Sequence[bytes]) -> Sequence[bytes]:
        """Return entries in the order of the list, oldest first."""
        return entries[::-1] if self.is_newest_first else entries


async def check_chat_order(commands: CommandExecutor, keys: Keys, settings: StoreSettings) -> HealthCheck:
    """Compare the timestamps at both ends of some chats with the setting `chat_order`."""
    name, order = "chat order", settings.chat_order
    try:
        chats = [keys.chat(room_id) for room_id in await _sample_rooms(commands, keys)]
    except StoreError as error:
        return HealthCheck(name, "unknown", str(error))
    ends = await asyncio.gather(*(_ends(commands, key) for key in chats))
    found = [one for one in ends if one is not None]
    contrary = found.count(_OTHER_ORDER[order])
    if 2 * contrary <= len(found):
        compared = f", as {len(found) - contrary} of {len(found)} compared chats" if found else ""
        return HealthCheck(name, "ok", f"chats are stored {order}{compared}")
    other = _OTHER_ORDER[order]
    detail = (
        f"{contrary} of {len(found)} compared chats are stored {other}, and chat_order is {order}: their messages are "
        "returned in reverse order, and a new message removes the newest one of a full chat"
    )
    return HealthCheck(
        name, "warning", detail, f"set chat_order to {other} if the other apps store chats in this order"
    )


async def _sample_rooms(commands: CommandExecutor, keys: Keys) -> Sequence[str]:
    """Return the ids of some rooms in the index."""
    found: list[str] = []
    for start in range(0, len(keys.buckets), _BUCKETS_AT_ONCE):
        indexes = map(keys.active_rooms, keys.buckets[start : start + _BUCKETS_AT_ONCE])
        count = b"%d" % _SAMPLED_CHATS
        for _, entries in await commands.read_many([(b"SSCAN", index, b"0", b"COUNT", count) for index in indexes]):
            found += [entry.decode("utf-8", "replace") for entry in entries]
        if len(found) >= _SAMPLED_CHATS:
            break
    return found[:_SAMPLED_CHATS]


async def _ends(commands: CommandExecutor, key: bytes) -> str | None:
    """Return the order that the timestamps at both ends of a chat show, or None."""
    try:
        replies: list[Reply] = await commands.read_many([(b"LRANGE", key, end, end) for end in (b"0", b"-1")])
        first, last = (from_wire(ChatMessage, entry, key=text(key)).timestamp for (entry,) in replies)
    except (StoreError, CorruptRecordError, ValueError):  # the chat is missing or unreadable
        return None
    if first == last:
        return None
    return "oldest_first" if first < last else "newest_first"
