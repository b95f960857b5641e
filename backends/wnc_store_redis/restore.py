"""Putting a room back on Redis as it was."""

from __future__ import annotations

from datetime import timedelta

from wnc_store import OwnChanges, RoomExistsError, Snapshot, StoreSettings, to_wire
from wnc_store_redis.codec import marked
from wnc_store_redis.durations import milliseconds
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import RESTORE, publication
from wnc_store_redis.transport.executor import Commands


async def restore(
    commands: Commands, keys: Keys, settings: StoreSettings, snapshot: Snapshot, *, replace: bool
) -> None:
    """Do what `CanRestore.restore` says."""
    room, chat_ttl = snapshot.room, snapshot.chat_ttl
    messages = () if chat_ttl is None else snapshot.messages[-settings.chat_history_limit :]
    tellings = OwnChanges(settings).of_upheaval(room.id)
    stored = await commands.run(
        RESTORE,
        [keys.room(room.id), keys.active_rooms, keys.chat(room.id)],
        to_wire(room),
        _milliseconds(snapshot.room_ttl, settings.room_ttl),
        room.id.encode(),
        b"1" if replace else b"",
        _milliseconds(chat_ttl or timedelta.max, settings.chat_ttl),
        *(publication(keys.publish, keys.events(room.id), tellings) or (b"", b"", b"")),
        *map(marked, messages),
    )
    if not stored:
        raise RoomExistsError(room.id)


def _milliseconds(ttl: timedelta, full: timedelta) -> bytes:
    return milliseconds(full if ttl == timedelta.max else ttl)
