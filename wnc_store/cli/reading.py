"""Concurrent reads of rooms, which distinguish unreadable rooms from missing ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wnc_store.errors import CorruptRecordError
from wnc_store.protocols import Store
from wnc_store.records.models import Room

PAGE_SIZE = 100
"""Number of rooms that are read together."""


async def read_rooms(store: Store, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
    """Return each room, None if it does not exist, or the error if it is unreadable."""
    rooms = await store.rooms.get_rooms(room_ids)
    missing = [room_id for room_id, room in zip(room_ids, rooms, strict=True) if room is None]
    again = dict(zip(missing, await asyncio.gather(*(_read(store, room_id) for room_id in missing)), strict=True))
    return [again.get(room_id) if room is None else room for room_id, room in zip(room_ids, rooms, strict=True)]


async def _read(store: Store, room_id: str) -> Room | CorruptRecordError | None:
    try:
        return await store.rooms.get_room(room_id)
    except CorruptRecordError as error:
        return error
