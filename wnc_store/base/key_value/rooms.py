"""Room store on a key-value database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial

from wnc_store.base.compare_and_set import Committed, VersionedRoom, VersionMismatch
from wnc_store.base.decode import decode_room
from wnc_store.base.events import EncodedEvent
from wnc_store.base.group_commit import GroupCommitRoomStore
from wnc_store.base.ids import is_id
from wnc_store.base.key_value.records import CHATS, CONNECTIONS, EVENTS, HITS, ROOMS, Records, RecordStorage
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.pages import sum_batches
from wnc_store.clock import Clock
from wnc_store.errors import CorruptRecordError
from wnc_store.records.codec import to_wire
from wnc_store.records.models import Room
from wnc_store.settings import StoreSettings


class KeyValueRoomStore(GroupCommitRoomStore[bytes]):
    """Rooms in a key-value database. The version of a room is its stored bytes.

    Attributes:
        commits: Number of committed updates.
        retries: Number of updates that conflicted with a change by another client.
    """

    def __init__(self, storage: RecordStorage, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        super().__init__(settings, clock, lifecycle)
        self._storage = storage
        self.commits = self.retries = 0

    async def _get_versioned(self, room_id: str) -> VersionedRoom[bytes] | None:
        return self._decode(room_id, await self._storage.read(lambda records: records.get(ROOMS, room_id)))

    async def _get_many(self, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
        values = await self._storage.read(lambda records: [records.get(ROOMS, room_id) for room_id in room_ids])
        return [self._decode_or_error(*found) for found in zip(room_ids, values, strict=True)]

    async def _create(self, room: Room) -> bool:
        data, encoded_events = to_wire(room), self._change_events.for_commit(None, room)

        def create(records: Records) -> bool:
            if records.get(ROOMS, room.id) is not None:
                return False
            records.delete(CHATS, room.id)
            records.put(ROOMS, room.id, data, self._settings.room_ttl)
            records.publish(encoded_events)
            return True

        return await self._storage.write(create)

    async def _compare_and_set(
        self, before: VersionedRoom[bytes], after: Room, encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[bytes]:
        data, ttl, chat_ttl = to_wire(after), self._ttls.room(after), self._ttls.chat(before.room, after)

        def replace(records: Records) -> None:
            records.put(ROOMS, after.id, data, ttl)
            chat = None if chat_ttl is None else records.get(CHATS, after.id)
            if chat is not None and chat_ttl is not None:
                records.put(CHATS, after.id, chat, chat_ttl)

        return await self._replace(before, replace, encoded_events)

    async def _compare_and_delete(
        self, before: VersionedRoom[bytes], encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[bytes]:
        return await self._replace(before, lambda records: _delete(records, before.room.id), encoded_events)

    async def _delete(self, room_id: str) -> bool:
        encoded_events = self._change_events.for_delete(room_id)

        def delete(records: Records) -> bool:
            was_live = _delete(records, room_id)
            records.publish(encoded_events if was_live else ())
            return was_live

        return await self._storage.write(delete)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return await self._storage.read(lambda records: records.get_ttl(ROOMS, room_id))

    async def _iter_ids(self) -> AsyncIterator[str]:
        after: str | None = ""
        while after is not None:
            start = after
            room_ids, after = await self._storage.read(lambda records, start=start: records.page(ROOMS, start))
            for room_id in room_ids:
                if is_id(room_id):
                    yield room_id

    async def _prune_index(self) -> int:
        return await sum_batches(self._purge())

    async def _purge(self) -> AsyncIterator[int]:
        """Delete the expired records in several transactions. Yield the number of rooms of each."""
        for kind in (ROOMS, CHATS, CONNECTIONS, HITS, EVENTS):
            after: str | None = ""
            while after is not None:
                purge = partial(Records.purge_page, kind=kind, after=after)
                count, after = await self._storage.write(purge)
                yield count if kind == ROOMS else 0

    async def _replace(
        self, before: VersionedRoom[bytes], change: Callable[[Records], object], encoded_events: Sequence[EncodedEvent]
    ) -> Committed | VersionMismatch[bytes]:
        room_id = before.room.id

        def replace(records: Records) -> bytes | None:
            current = records.get(ROOMS, room_id)
            if current == before.version:
                change(records)
                records.publish(encoded_events)
            return current

        current = await self._storage.write(replace)
        if current == before.version:
            self.commits += 1
            return Committed()
        self.retries += 1
        return VersionMismatch(self._decode(room_id, current))

    def _decode(self, room_id: str, data: bytes | None) -> VersionedRoom[bytes] | None:
        if data is None:
            return None
        return VersionedRoom(decode_room(f"{ROOMS}/{self._settings.key_prefix}{room_id}", room_id, data), data)

    def _decode_or_error(self, room_id: str, data: bytes | None) -> Room | CorruptRecordError | None:
        try:
            found = self._decode(room_id, data)
        except CorruptRecordError as error:
            return error
        return found and found.room


def _delete(records: Records, room_id: str) -> bool:
    records.delete(CHATS, room_id)
    return records.delete(ROOMS, room_id)
