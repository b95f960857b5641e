"""Chat store that edits and removes messages by compare-and-set."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple
from weakref import WeakValueDictionary

from wnc_store.base.chat import BaseChatStore, MessageEdit
from wnc_store.base.compare_and_set import VersionT
from wnc_store.base.events import EncodedEvent
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.errors import ConflictError, StoreTimeoutError
from wnc_store.records.models import ChatMessage
from wnc_store.settings import StoreSettings


class VersionedMessage(NamedTuple, Generic[VersionT]):
    """A stored message and its version.

    The version is a value that differs for every state of the stored messages with this id, for example their bytes.
    """

    message: ChatMessage
    version: VersionT


class CompareAndSetChatStore(BaseChatStore, Generic[VersionT]):
    """Chat store that edits and removes messages by compare-and-set, and retries after concurrent changes.

    Its primitives are those of `BaseChatStore`, with `_find` and `_compare_and_replace` instead of `_edit` and
    `_remove`. The changes of one chat by this store run one after another, because concurrent changes would conflict.
    """

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._locks: WeakValueDictionary[tuple[asyncio.AbstractEventLoop, str], asyncio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def _find(self, room_id: str, message_id: str, /) -> VersionedMessage[VersionT] | None:
        """Return the newest message with this id (`rules.newest`) and its version. None if there is none."""

    @abstractmethod
    async def _compare_and_replace(
        self,
        room_id: str,
        before: VersionedMessage[VersionT],
        after: ChatMessage | None,
        encoded_events: Sequence[EncodedEvent],
        /,
    ) -> bool:
        """Atomically replace a message, as `rules.replace_message` does, if its version is still `before.version`.

        In the same step, renew the TTL of the chat, or delete the chat if no message remains, and publish
        `encoded_events`. If `after` is None, remove the message.

        Returns:
            Whether the version matched. If not, change nothing.
        """

    async def _edit(self, room_id: str, message_id: str, edit: MessageEdit, /) -> ChatMessage | None:
        edited: ChatMessage | None = None

        def change(message: ChatMessage) -> tuple[ChatMessage, Sequence[EncodedEvent]]:
            nonlocal edited
            edited = edit(message)
            return edited, self._change_events.for_edit(room_id, edited)

        return edited if await self._change(room_id, message_id, change) else None

    async def _remove(self, room_id: str, message_id: str) -> bool:
        encoded_events = self._change_events.for_removal(room_id, message_id)
        return await self._change(room_id, message_id, lambda _: (None, encoded_events))

    async def _change(
        self,
        room_id: str,
        message_id: str,
        change: Callable[[ChatMessage], tuple[ChatMessage | None, Sequence[EncodedEvent]]],
    ) -> bool:
        """Replace a message by the result of `change`. Return False if no message has the id."""
        loop, seconds = asyncio.get_running_loop(), self._settings.operation_timeout.total_seconds()
        started_at, attempts = loop.time(), 0
        lock = self._locks.get((loop, room_id))
        if lock is None:  # a lock of another event loop can't be awaited here; the database rejects other event loops
            lock = self._locks[loop, room_id] = asyncio.Lock()
        try:
            async with asyncio.timeout_at(started_at + seconds):
                await lock.acquire()
        except TimeoutError as error:
            message = (
                f"other changes of the chat of room {room_id!r} took longer than operation_timeout ({seconds:g} s), "
                "and nothing was written: retry, or increase operation_timeout"
            )
            raise StoreTimeoutError(message) from error
        try:
            while (before := await self._find(room_id, message_id)) is not None:
                if await self._compare_and_replace(room_id, before, *change(before.message)):
                    return True
                attempts += 1
                elapsed = loop.time() - started_at
                if elapsed + elapsed / attempts > seconds:  # another attempt would exceed the timeout
                    raise ConflictError(room_id, attempts, record="chat of room")
            return False
        finally:
            lock.release()
