"""Restoring a room and its chat from a snapshot."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import RoomExistsError, Snapshot, StoreSettings, to_wire
from wnc_store.base import ChangeEvents
from wnc_store_redis.codec import encode_with_nonce, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import RESTORE, publish_args
from wnc_store_redis.transport.executor import CommandExecutor


async def restore(
    commands: CommandExecutor, keys: Keys, settings: StoreSettings, snapshot: Snapshot, *, replace: bool
) -> None:
    """Implement `SupportsRestore.restore`."""
    room, chat_ttl = snapshot.room, snapshot.chat_ttl
    messages = () if chat_ttl is None else snapshot.messages[-settings.chat_history_limit :]
    encoded_events = ChangeEvents(settings).for_reset(room.id)
    is_stored = await commands.run_script(
        RESTORE,
        [keys.room(room.id), keys.active_rooms, keys.chat(room.id)],
        to_wire(room),
        _ttl_millis(snapshot.room_ttl, settings.room_ttl),
        room.id.encode(),
        b"1" if replace else b"",
        _ttl_millis(chat_ttl or timedelta.max, settings.chat_ttl),
        *(publish_args(keys.publish, keys.events(room.id), encoded_events) or (b"", b"", b"")),
        *map(encode_with_nonce, messages),
    )
    if not is_stored:
        raise RoomExistsError(room.id)


def _ttl_millis(ttl: timedelta, full_ttl: timedelta) -> bytes:
    return to_millis(full_ttl if ttl == timedelta.max else ttl)
