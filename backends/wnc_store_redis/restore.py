"""Putting a room back on Redis as it was."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import RoomExistsError, Snapshot, StoreSettings, to_wire
from wnc_store.base import ChangeEvents
from wnc_store_redis.codec import encode_with_nonce
from wnc_store_redis.durations import to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import RESTORE, publish_args
from wnc_store_redis.transport.executor import CommandExecutor


async def restore(
    commands: CommandExecutor, keys: Keys, settings: StoreSettings, snapshot: Snapshot, *, replace: bool
) -> None:
    """Do what `SupportsRestore.restore` says."""
    room, chat_ttl = snapshot.room, snapshot.chat_ttl
    messages = () if chat_ttl is None else snapshot.messages[-settings.chat_history_limit :]
    encoded_events = ChangeEvents(settings).for_reset(room.id)
    stored = await commands.run_script(
        RESTORE,
        [keys.room(room.id), keys.active_rooms, keys.chat(room.id)],
        to_wire(room),
        _milliseconds(snapshot.room_ttl, settings.room_ttl),
        room.id.encode(),
        b"1" if replace else b"",
        _milliseconds(chat_ttl or timedelta.max, settings.chat_ttl),
        *(publish_args(keys.publish, keys.events(room.id), encoded_events) or (b"", b"", b"")),
        *map(encode_with_nonce, messages),
    )
    if not stored:
        raise RoomExistsError(room.id)


def _milliseconds(ttl: timedelta, full: timedelta) -> bytes:
    return to_millis(full if ttl == timedelta.max else ttl)
