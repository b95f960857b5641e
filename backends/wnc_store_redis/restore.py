"""Restoring a room and its chat from a snapshot."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import RoomExistsError, Snapshot, StoreSettings, to_wire
from wnc_store.base import ChangeEvents
from wnc_store_redis.codec import nonces, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import NO_EVENT, RESTORE, RESTORE_NEWEST_FIRST, publish_args
from wnc_store_redis.transport.executor import CommandExecutor


async def restore(
    commands: CommandExecutor, keys: Keys, settings: StoreSettings, snapshot: Snapshot, *, replace: bool
) -> None:
    """Implement `SupportsRestore.restore`."""
    room, chat_ttl = snapshot.room, snapshot.chat_ttl
    room_ttl = _finite(snapshot.room_ttl, settings.room_ttl)
    messages = () if chat_ttl is None else snapshot.messages[-settings.chat_history_limit :]
    nonce = nonces()
    encoded_events = ChangeEvents(settings).for_reset(room.id)
    is_stored = await commands.run_script(
        RESTORE_NEWEST_FIRST if settings.chat_order == "newest_first" else RESTORE,
        keys.of_room(room.id),
        to_wire(room, next(nonce)),
        to_millis(room_ttl),
        to_millis(keys.index_ttl(room_ttl)),
        room.id.encode(),
        b"1" if replace else b"",
        to_millis(_finite(chat_ttl or timedelta.max, settings.chat_ttl)),
        *(publish_args(keys, room.id, encoded_events) or NO_EVENT),
        *map(to_wire, messages, nonce),
    )
    if not is_stored:
        raise RoomExistsError(room.id)


def _finite(ttl: timedelta, full_ttl: timedelta) -> timedelta:
    return full_ttl if ttl == timedelta.max else ttl
