"""Edits and removals of chat messages by compare-and-set on the stored entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from wnc_store import ChatMessage, ConflictError, SecretBytes, StoreError, StoreSettings, to_wire
from wnc_store.base import ChangeEvents, EncodedEvent, MessageEdit
from wnc_store_redis.cache import ChatCache
from wnc_store_redis.chat_order import ChatOrder
from wnc_store_redis.codec import has_nonce, nonces, to_millis
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import Edited, StoredEntries
from wnc_store_redis.scripts import EDIT, EDIT_NEWEST_FIRST, NO_EVENT, publish_args
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall


class _Change(NamedTuple):
    """The first two arguments of EDIT, and the events of the change."""

    entry: bytes
    nonce: bytes
    encoded_events: Sequence[EncodedEvent]


class ChatEditor:
    """Edits and removes messages of chats.

    The changes of one chat by this store run one after another, because concurrent changes would conflict.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of the chat store
        self,
        commands: CommandExecutor,
        keys: Keys,
        settings: StoreSettings,
        order: ChatOrder,
        change_events: ChangeEvents,
        cache: ChatCache,
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._limit = b"%d" % settings.chat_history_limit
        self._order = order
        self._script = EDIT_NEWEST_FIRST if order.is_newest_first else EDIT
        self._ttl_ms = to_millis(settings.chat_ttl)
        self._change_events = change_events
        self._cache = cache
        self._nonces = nonces()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def edit(self, room_id: str, message_id: str, edit: MessageEdit) -> ChatMessage | None:
        """Implement `BaseChatStore._edit`."""
        edited: ChatMessage | None = None

        def prepare(message: ChatMessage) -> _Change:
            nonlocal edited
            edited = edit(message)
            data = to_wire(edited, next(self._nonces))
            return _Change(data, b"", self._change_events.for_edit(room_id, edited))

        return edited if await self._change(room_id, message_id, prepare) else None

    async def remove(self, room_id: str, message_id: str) -> bool:
        """Implement `BaseChatStore._remove`."""
        encoded_events = self._change_events.for_removal(room_id, message_id)
        return await self._change(
            room_id, message_id, lambda _message: _Change(b"", next(self._nonces).encode(), encoded_events)
        )

    async def _change(self, room_id: str, message_id: str, prepare: Callable[[ChatMessage], _Change]) -> bool:
        """Change a message. Return False if no message has the id."""
        deadline = self._commands.deadline()
        lock = self._locks.get(room_id)
        if lock is None:
            lock = self._locks[room_id] = asyncio.Lock()
        async with lock:  # each call ahead of this one has an earlier deadline
            return await self._compare_and_set(room_id, message_id, prepare, deadline)

    async def _compare_and_set(
        self, room_id: str, message_id: str, prepare: Callable[[ChatMessage], _Change], deadline: float
    ) -> bool:
        loop, key, attempts = asyncio.get_running_loop(), self._keys.chat(room_id), 0
        start = loop.time()
        # The cached chat is not used: another client may have added a message with this id again since it was read.
        read = self._commands.read(b"LRANGE", key, *self._order.kept, deadline=deadline)
        entries: list[bytes] = [SecretBytes(entry) for entry in await read]  # tracebacks may show them
        while found := self._cache.find(room_id, self._order.oldest_first(entries), message_id):
            newest, message = found[0]
            entry, nonce, encoded_events = prepare(message)
            events = publish_args(self._keys, room_id, encoded_events) or NO_EVENT
            first, again = (
                (entry, nonce, self._limit, self._ttl_ms, attempt, *events, *(stored for stored, _ in found))
                for attempt in (b"", b"1" if has_nonce(newest) else b"0")
            )
            result, _ = await self._commands.call_script(ScriptCall(self._script, (key,), first, again, deadline))
            if result is Edited.UNKNOWN:
                raise self._outcome_unknown_error(key)
            if not isinstance(result, StoredEntries):
                return True
            self._commands.statistics.retries += 1
            attempts += 1
            elapsed = loop.time() - start
            if loop.time() + elapsed / attempts > deadline:
                raise ConflictError(room_id, attempts, record="chat of room")
            entries = result.entries
        return False

    def _outcome_unknown_error(self, key: bytes) -> StoreError:
        lost = ConnectionResetError("the connection was lost, and others may have changed the chat since")
        return self._commands.to_store_error(lost, key, unanswered=True)
