"""Chat store on a key-value database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from wnc_store.base.compare_and_set_chat import CompareAndSetChatStore, VersionedMessage
from wnc_store.base.decode import ChatDecoder
from wnc_store.base.events import EncodedEvent
from wnc_store.base.key_value.records import CHATS, Records, RecordStorage
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.records.codec import to_wire
from wnc_store.records.models import ChatMessage
from wnc_store.records.secret import SecretBytes
from wnc_store.settings import StoreSettings

Entries = list[tuple[bytes, ChatMessage | None]]
"""The stored entries of a chat, oldest first, with their messages. The message of an invalid entry is None."""


class KeyValueChatStore(CompareAndSetChatStore[Sequence[bytes]]):
    """Chats in a key-value database. A chat is one record: a JSON text sequence (RFC 7464), oldest first.

    The version of a message is the sequence of the stored entries that have its id. Transactions decode the entries, so
    that the decoder runs in one thread.
    """

    def __init__(self, storage: RecordStorage, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._storage = storage
        self._decoder = ChatDecoder()

    async def _add(self, message: ChatMessage) -> None:
        data, encoded_events = to_wire(message), self._change_events.for_message(message)

        def add(records: Records) -> None:
            entries = self._read(records, message.room_id)
            if not _with_id(entries, message.id):
                self._write(records, message.room_id, [*(entry for entry, _ in entries), data], encoded_events)

        await self._storage.write(add)

    async def _find(self, room_id: str, message_id: str, /) -> VersionedMessage[Sequence[bytes]] | None:
        def find(records: Records) -> VersionedMessage[Sequence[bytes]] | None:
            found = _with_id(self._read(records, room_id), message_id)
            return VersionedMessage(found[-1][1], [entry for entry, _ in found]) if found else None

        return await self._storage.read(find)

    async def _compare_and_replace(
        self,
        room_id: str,
        before: VersionedMessage[Sequence[bytes]],
        after: ChatMessage | None,
        encoded_events: Sequence[EncodedEvent],
        /,
    ) -> bool:
        message_id, new = before.message.id, None if after is None else to_wire(after)

        def replace(records: Records) -> bool:
            entries = self._read(records, room_id)
            if [entry for entry, _ in _with_id(entries, message_id)] != before.version:
                return False
            replaced = [
                new if message is not None and message.id == message_id else entry for entry, message in entries
            ]
            self._write(records, room_id, [entry for entry in replaced if entry is not None], encoded_events)
            return True

        return await self._storage.write(replace)

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        entries = await self._storage.read(lambda records: self._read(records, room_id))
        return [message for _, message in entries if message is not None]

    async def _delete_messages(self, room_id: str) -> None:
        encoded_events = self._change_events.for_clear(room_id)

        def clear(records: Records) -> None:
            if records.delete(CHATS, room_id):
                records.publish(encoded_events)

        await self._storage.write(clear)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return await self._storage.read(lambda records: records.get_ttl(CHATS, room_id))

    def _read(self, records: Records, room_id: str) -> Entries:
        """Return the kept entries of a chat."""
        key = f"{CHATS}/{self._settings.key_prefix}{room_id}"
        entries = _split(records.get(CHATS, room_id))[-self._settings.chat_history_limit :]
        return [(entry, self._decoder.decode(key, entry)) for entry in entries]

    def _write(
        self, records: Records, room_id: str, entries: Sequence[bytes], encoded_events: Sequence[EncodedEvent]
    ) -> None:
        """Store the kept entries with the full TTL, or delete the chat if there are none."""
        if entries:
            kept = entries[-self._settings.chat_history_limit :]
            records.put(CHATS, room_id, _join(kept), self._settings.chat_ttl)
        else:
            records.delete(CHATS, room_id)
        records.publish(encoded_events)


def _split(chat: bytes | None) -> list[bytes]:
    """Return the entries of a stored chat. Each is preceded by a byte that JSON can't contain, and ends a line."""
    return [] if chat is None else [SecretBytes(entry[:-1]) for entry in chat.split(b"\x1e")[1:]]


def _join(entries: Sequence[bytes]) -> bytes:
    return SecretBytes(b"".join([b"\x1e%b\n" % entry for entry in entries]))


def _with_id(entries: Entries, message_id: str) -> list[tuple[bytes, ChatMessage]]:
    return [(entry, message) for entry, message in entries if message is not None and message.id == message_id]
