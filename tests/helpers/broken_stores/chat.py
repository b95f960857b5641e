"""Mutants of the chat: which messages are stored and returned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakKeyDictionary

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, StoreSettings, to_wire
from wnc_store.base import Lifecycle, chat
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.database import Namespace

MUTANTS = Mutants()

add_message, append = MemoryChatStore._add, ChatHistory.append
clear = MemoryChatStore._delete_messages
FOREVER_MS = 10**15
KNOWN_IDS: WeakKeyDictionary[MemoryChatStore, set[tuple[str, str]]] = WeakKeyDictionary()

init, get_messages = MemoryChatStore.__init__, MemoryChatStore.get_messages


def with_limit(surplus: int) -> Callable[[MemoryChatStore, Namespace, StoreSettings, Lifecycle], None]:
    """Return a constructor of a chat store that keeps `surplus` messages too many."""

    def broken(self: MemoryChatStore, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        limit = settings.chat_history_limit + surplus
        init(self, namespace, settings.model_copy(update={"chat_history_limit": limit}), lifecycle)

    return broken


LIMITED = {
    "twenty_messages_are_kept",
    "the_history_limit_is_configurable",
    "concurrent_messages_are_all_kept",
    "a_message_that_is_not_kept_is_added_again",
    "edits_keep_the_clients_history_limit",
    "only_kept_messages_are_edited",
    "removals_do_not_bring_back_trimmed_messages",
}
MUTANTS.breaks(
    (MemoryChatStore, "__init__"), *LIMITED, "the_oldest_message_is_still_deduplicated", name="19 messages are kept"
)(with_limit(-1))
MUTANTS.breaks((MemoryChatStore, "__init__"), *LIMITED, name="21 messages are kept")(with_limit(1))


@MUTANTS.breaks(
    (MemoryChatStore, "get_messages"),
    "messages_are_returned_oldest_first",
    "twenty_messages_are_kept",
    "the_history_limit_is_configurable",
    "a_limit_returns_the_newest_messages",
    "a_repeated_message_has_no_effect",
    "the_oldest_message_is_still_deduplicated",
    "only_the_message_id_deduplicates",
    "message_text_is_stored_unchanged",
    "chat_reads_see_writes_of_other_clients",
    "any_message_id_is_accepted",
    "deep_values_of_a_message_are_limited",
    "a_message_that_is_not_kept_is_added_again",
    "a_failing_edit_of_a_message_has_no_effect",
    "a_missing_message_is_not_edited",
    "a_removed_message_can_be_added_again",
    "a_removed_message_is_gone",
    "an_edit_that_changes_an_id_is_rejected",
    "an_edit_to_an_invalid_message_is_rejected",
    "an_edited_message_is_still_deduplicated",
    "an_edited_message_keeps_its_author",
    "an_edited_message_keeps_its_position",
    "chat_reads_see_edits_of_other_clients",
    "concurrent_edits_of_two_clients_are_all_applied",
    "edits_keep_the_clients_history_limit",
    "every_value_survives_an_edit",
    "removals_do_not_bring_back_trimmed_messages",
)
async def messages_are_newest_first(self: MemoryChatStore, room_id: str, limit: int | None = None) -> list[ChatMessage]:
    """Return the messages in reverse order."""
    return (await get_messages(self, room_id, limit))[::-1]


@MUTANTS.breaks((MemoryChatStore, "get_messages"), "a_limit_returns_the_newest_messages")
async def a_limit_returns_the_oldest(
    self: MemoryChatStore, room_id: str, limit: int | None = None
) -> list[ChatMessage]:
    """Return the oldest messages instead of the newest."""
    count = len(await get_messages(self, room_id, limit))
    return (await get_messages(self, room_id))[:count]


@MUTANTS.breaks(
    (ChatHistory, "append"),
    "a_repeated_message_has_no_effect",
    "the_oldest_message_is_still_deduplicated",
    "a_lone_surrogate_is_deduplicated",
    "a_message_added_concurrently_is_kept_once",
    "a_repeated_message_does_not_renew",
    "concurrent_messages_of_two_clients_are_all_kept",
    "a_message_is_published",
    "any_message_id_is_accepted",
    "an_edited_message_is_still_deduplicated",
)
def an_append_is_not_idempotent(self: ChatHistory, message: ChatMessage, limit: int) -> bool:
    """Append a message without checking its id."""
    self._ids.pop(message.id, None)
    return append(self, message, limit)


@MUTANTS.breaks((ChatHistory, "append"), "the_oldest_message_is_still_deduplicated")
def an_append_trims_before_the_check(self: ChatHistory, message: ChatMessage, limit: int) -> bool:
    """Remove the oldest message before checking for a duplicate."""
    if len(self._messages) == limit:
        del self._ids[self._messages.pop(0).id]
    return append(self, message, limit)


@MUTANTS.breaks((ChatHistory, "append"), "only_the_message_id_deduplicates", "any_message_id_is_accepted")
def an_append_matches_the_id_anywhere(self: ChatHistory, message: ChatMessage, limit: int) -> bool:
    """Treat a message as a duplicate if its id occurs anywhere in a stored message."""
    is_duplicate = any(f'"{message.id}"'.encode() in to_wire(stored) for stored in self._messages)
    return not is_duplicate and append(self, message, limit)


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_repeated_message_does_not_renew")
async def a_repeated_message_renews_the_chat(self: MemoryChatStore, message: ChatMessage) -> None:
    """Renew the chat's TTL for a duplicate."""
    entry = self._chats.get(message.room_id)
    if entry is not None:
        self._chats.set(message.room_id, entry.value, self._chat_ttl_ms)
    await add_message(self, message)


@MUTANTS.breaks((MemoryChatStore, "_add"), "a_cancelled_message_is_atomic", "a_cancelled_first_message_is_atomic")
async def a_chats_ttl_is_set_in_a_second_step(self: MemoryChatStore, message: ChatMessage) -> None:
    """Store the message without a TTL, then set the TTL."""
    before = self._chats.get(message.room_id)
    await add_message(self, message)
    written = self._chats.get(message.room_id)
    if written is not None and written is not before:
        self._chats.set(message.room_id, written.value, FOREVER_MS)
        await asyncio.sleep(0)
        if (written := self._chats.get(message.room_id)) is not None:
            self._chats.set(message.room_id, written.value, self._chat_ttl_ms)


@MUTANTS.breaks((MemoryChatStore, "_delete_messages"), "a_cancelled_clear_is_atomic")
async def a_clear_takes_two_steps(self: MemoryChatStore, room_id: str) -> None:
    """Delete all messages except the newest two first."""
    entry = self._chats.get(room_id)
    if entry is not None and (newest := entry.value.newest(2)):
        self._chats.set(room_id, ChatHistory(newest), entry.expires_ms - self._chats._now_ms())
        await asyncio.sleep(0)
    await clear(self, room_id)


@MUTANTS.breaks((MemoryChatStore, "_get_ttl"), "chat_ttl_has_millisecond_precision")
async def chat_ttl_is_in_whole_seconds(self: MemoryChatStore, room_id: str) -> timedelta | None:
    """Round the TTL down to seconds."""
    remaining = self._chats.remaining_ms(room_id)
    return None if remaining is None else timedelta(seconds=remaining // 1000)


@MUTANTS.breaks((chat, "validated"), "an_invalid_message_is_rejected")
def a_message_is_not_validated(message: ChatMessage, _kind: type[ChatMessage]) -> ChatMessage:
    """Store whatever the caller passes."""
    return message


@MUTANTS.breaks(
    (MemoryChatStore, "_add"),
    "a_message_that_is_not_kept_is_added_again",
    "a_removed_message_can_be_added_again",
    "chat_reads_see_edits_of_other_clients",
    "edits_keep_the_clients_history_limit",
    "removals_do_not_bring_back_trimmed_messages",
)
async def message_ids_are_remembered(self: MemoryChatStore, message: ChatMessage) -> None:
    """Ignore a message whose id was stored at any time."""
    known = KNOWN_IDS.setdefault(self, set())
    key = (message.room_id, message.id)
    if key not in known or self._chats.get(message.room_id) is None:
        known.add(key)
        await add_message(self, message)
