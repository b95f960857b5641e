"""The chat store on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from wnc_store import ChatMessage, SecretBytes, StoreSettings, to_wire
from wnc_store.base import ChatDecoder, CompareAndSetChatStore, EncodedEvent, Lifecycle, VersionedMessage
from wnc_store_postgres import queries
from wnc_store_postgres.cache import VersionCache
from wnc_store_postgres.keys import Keys, new_version, to_millis, to_ttl
from wnc_store_postgres.payloads import encode_payloads
from wnc_store_postgres.reads import BatchedQuery
from wnc_store_postgres.transport.executor import StatementExecutor, WriteResult


class _Found(NamedTuple):
    """The stored messages that have an id.

    Attributes:
        seen: the versions of these messages, and of those without a known id.
        own: the versions of these messages.
    """

    seen: Sequence[int]
    own: Sequence[int]


class PostgresChatStore(CompareAndSetChatStore[_Found]):
    """`ChatStore` on Postgres."""

    def __init__(self, executor: StatementExecutor, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._executor = executor
        self._keys = keys
        self._limit = settings.chat_history_limit
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._reads = BatchedQuery(executor, queries.GET_MESSAGES, self._limit)
        self._decoder = ChatDecoder()
        self._cache = VersionCache[ChatMessage](settings.cache_bytes // 2, executor.statistics)

    async def _add(self, message: ChatMessage) -> None:
        room_id, version, data = message.room_id, new_version(), to_wire(message)
        encoded_events = self._change_events.for_message(message)
        checked: list[int] = []  # versions of messages whose id another client did not store, and that have another id
        while True:
            arguments = (room_id, message.id, version, data, self._limit, self._ttl_ms, checked)
            result = await self._write("append", room_id, encoded_events, *arguments)
            if result.applied:
                self._cache.put(str(version), version, message, len(data))
            if result.applied or not result.entries:  # without entries, the message is present
                return
            unidentified = [*zip(result.numbers, result.entries, strict=True)]
            if any(self._has_id(message.id, room_id, version, entry) for version, entry in unidentified):
                return
            checked += result.numbers

    async def _find(self, room_id: str, message_id: str, /) -> VersionedMessage[_Found] | None:
        key = self._keys.chat(room_id)
        rows = await self._executor.fetch(queries.FIND_MESSAGES, room_id, message_id, self._limit, key=key)
        versions, entries = rows[0]
        own: list[int] = []
        newest: ChatMessage | None = None
        for version, entry in zip(versions, entries, strict=True):
            message = self._decode(room_id, version, SecretBytes(entry))
            if message is not None and message.id == message_id:
                own.append(version)
                newest = message
        return newest and VersionedMessage(newest, _Found(versions, own))

    async def _compare_and_replace(
        self,
        room_id: str,
        before: VersionedMessage[_Found],
        after: ChatMessage | None,
        encoded_events: Sequence[EncodedEvent],
        /,
    ) -> bool:
        found, version, data = before.version, new_version(), None if after is None else to_wire(after)
        arguments = (before.message.id, found.seen, found.own, version, data, self._limit, self._ttl_ms)
        result = await self._write("edit", room_id, encoded_events, room_id, *arguments)
        if not result.applied:
            self._executor.statistics.retries += 1
        elif after is not None and data is not None:
            self._cache.put(str(version), version, after, len(data))
        return result.applied

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        decoded = [self._decode(room_id, *row) for row in await self._reads.get(room_id)]
        return [message for message in decoded if message is not None]

    async def _delete_messages(self, room_id: str) -> None:
        await self._write("clear", room_id, self._change_events.for_clear(room_id), room_id)

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        return to_ttl(await self._executor.fetch(queries.GET_CHAT_TTL, room_id, key=self._keys.chat(room_id)))

    async def _write(
        self, function: str, room_id: str, encoded_events: Sequence[EncodedEvent], *arguments: object
    ) -> WriteResult:
        payloads = encode_payloads(room_id, encoded_events)
        key = self._keys.chat(room_id)
        return await self._executor.write(function, *arguments, key=key, channel=self._keys.channel, payloads=payloads)

    def _has_id(self, message_id: str, room_id: str, version: int, entry: bytes) -> bool:
        message = self._decode(room_id, version, entry)
        return message is not None and message.id == message_id

    def _decode(self, room_id: str, version: int, data: bytes) -> ChatMessage | None:
        """Return a message, or None for an entry that is not one."""
        message = self._cache.get(str(version), version)
        if message is None:
            message = self._decoder.decode(self._keys.chat(room_id), data)
            if message is not None:
                self._cache.put(str(version), version, message, len(data))
        return message
