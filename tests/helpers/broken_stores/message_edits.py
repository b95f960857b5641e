"""Mutants of edits and removals of messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from unittest.mock import patch

from broken_stores.mutant import Mutants
from redis_harnesses import FakeHarness
from wnc_store import ChatMessage, Resync, rules
from wnc_store.base import ChangeEvents, EncodedEvent, MessageEdit
from wnc_store.base.size_limits import SizeLimits
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_redis import chat_edits as redis_edits

MUTANTS = Mutants()
REDIS_MUTANTS = Mutants(FakeHarness)

edit_history, remove_from_history = ChatHistory.edit, ChatHistory.remove
edit_message, remove_message = MemoryChatStore._edit, MemoryChatStore._remove
replace_message, change_message = rules.replace_message, rules.edit_message
for_edit, for_removal = ChangeEvents.for_edit, ChangeEvents.for_removal


@MUTANTS.breaks(
    (ChatHistory, "edit"),
    "an_edited_message_keeps_its_position",
    "a_failing_edit_of_a_message_has_no_effect",
    "an_edit_beyond_a_limit_is_rejected",
    "an_edited_message_is_still_deduplicated",
    "chat_reads_see_edits_of_other_clients",
    "concurrent_edits_of_a_message_are_all_applied",
    "edits_keep_the_clients_history_limit",
    "every_value_survives_an_edit",
)
def an_edited_message_becomes_the_newest(
    self: ChatHistory, message_id: str, edit: MessageEdit, limit: int
) -> ChatMessage | None:
    """Remove the message, and append the edited one."""
    edited = edit_history(self, message_id, edit, limit)
    if edited is not None:
        remove_from_history(self, message_id, limit)
        self.append(edited, limit)
    return edited


@MUTANTS.breaks(
    (MemoryChatStore, "_edit"),
    "concurrent_edits_of_a_message_are_all_applied",
    "a_failing_edit_of_a_message_has_no_effect",
    "concurrent_edits_of_two_clients_are_all_applied",
)
async def an_edit_reads_before_it_writes(
    self: MemoryChatStore, room_id: str, message_id: str, edit: MessageEdit, /
) -> ChatMessage | None:
    """Read the message in one step, and write it in another."""
    current = rules.newest(await self._get_messages(room_id), message_id, self._settings.chat_history_limit)
    if current is None:
        return None
    edited = edit(current)
    await asyncio.sleep(0)
    return await edit_message(self, room_id, message_id, lambda _current: edited)


@MUTANTS.breaks(
    (MemoryChatStore, "_edit"),
    "a_cancelled_edit_of_a_message_is_atomic",
    "a_failing_edit_of_a_message_has_no_effect",
    "concurrent_edits_of_a_message_are_all_applied",
    "concurrent_edits_of_two_clients_are_all_applied",
)
async def an_edit_takes_two_steps(
    self: MemoryChatStore, room_id: str, message_id: str, edit: MessageEdit, /
) -> ChatMessage | None:
    """Write the text first, and then the other fields."""
    edited: list[ChatMessage] = []

    def with_text(before: ChatMessage) -> ChatMessage:
        edited.append(edit(before))
        return before.model_copy(update={"message": edited[0].message})

    with patch.object(self, "_dispatch"):
        if await edit_message(self, room_id, message_id, with_text) is None:
            return None
    await asyncio.sleep(0)
    return await edit_message(self, room_id, message_id, lambda _before: edited[0])


@MUTANTS.breaks(
    (MemoryChatStore, "_edit"),
    "a_missing_message_is_not_edited",
    "only_kept_messages_are_edited",
    "edits_keep_the_clients_history_limit",
)
async def an_edit_returns_its_result_for_a_missing_message(
    self: MemoryChatStore, room_id: str, message_id: str, edit: MessageEdit, /
) -> ChatMessage | None:
    """Call the function on a message that does not exist."""
    edited = await edit_message(self, room_id, message_id, edit)
    missing = ChatMessage(id=message_id, room_id=room_id, user_id="u", user_name="U", message="")
    return edited or edit(missing)


def unchecked(message: ChatMessage, change: Callable[[ChatMessage], ChatMessage]) -> ChatMessage:
    """Return the result of `change`, and replace its ids by those of the message instead of checking them."""
    return change_message(
        message, lambda before: change(before).model_copy(update={"id": message.id, "room_id": message.room_id})
    )


MUTANTS.breaks(
    (rules, "edit_message"),
    "an_edit_that_changes_an_id_is_rejected",
    "an_edit_to_an_invalid_message_is_rejected",
    name="changed ids are ignored",
)(unchecked)


@MUTANTS.breaks(
    (rules, "edit_message"),
    "an_edit_to_an_invalid_message_is_rejected",
    "an_edit_that_changes_an_id_is_rejected",
    "an_edited_message_keeps_its_author",
)
def an_edited_message_is_not_validated(
    message: ChatMessage, change: Callable[[ChatMessage], ChatMessage]
) -> ChatMessage:
    """Store whatever the function returns."""
    return change(message)


@MUTANTS.breaks((rules, "edit_message"), "an_edited_message_keeps_its_author")
def an_edit_changes_the_author(message: ChatMessage, change: Callable[[ChatMessage], ChatMessage]) -> ChatMessage:
    """Accept another user id."""
    authors: list[str] = []

    def keep_author(before: ChatMessage) -> ChatMessage:
        after = change(before)
        if not isinstance(after, ChatMessage):  # pyright: ignore[reportUnnecessaryIsInstance] - a clause returns None
            return after
        authors.append(after.user_id)
        return after.model_copy(update={"user_id": before.user_id})

    return change_message(message, keep_author).model_copy(update={"user_id": authors[0]})


@MUTANTS.breaks(
    (rules, "edit_message"),
    "an_edited_message_keeps_its_author",
    "a_message_above_a_limit_can_be_edited",
    "an_edit_beyond_a_limit_is_rejected",
)
def the_name_of_the_author_cannot_be_changed(
    message: ChatMessage, change: Callable[[ChatMessage], ChatMessage]
) -> ChatMessage:
    """Keep the name of the author."""
    return change_message(message, change).model_copy(update={"user_name": message.user_name})


@MUTANTS.breaks(
    (SizeLimits, "check_edit"), "an_edit_beyond_a_limit_is_rejected", "a_message_above_a_limit_can_be_edited"
)
def edits_have_no_limits(_self: SizeLimits, _before: ChatMessage, _after: ChatMessage) -> None:
    """Accept an edit of any size."""


@MUTANTS.breaks((SizeLimits, "check_edit"), "a_message_above_a_limit_can_be_edited")
def a_message_above_a_limit_cannot_be_edited(self: SizeLimits, _before: ChatMessage, after: ChatMessage) -> None:
    """Check an edit like a new message."""
    self.check_message(after)


@MUTANTS.breaks(
    (rules, "replace_message"),
    "removals_do_not_bring_back_trimmed_messages",
    "a_removed_message_can_be_added_again",
    "a_removed_message_is_gone",
    "an_edited_message_is_still_deduplicated",
    "any_message_id_is_accepted",
    "chat_reads_see_edits_of_other_clients",
    "concurrent_edits_of_two_clients_are_all_applied",
    "edits_keep_the_clients_history_limit",
    "edits_of_messages_are_published",
    "every_value_survives_an_edit",
    "only_kept_messages_are_edited",
)
def a_removal_removes_the_newest(
    messages: Sequence[ChatMessage], message_id: str, new: ChatMessage | None, limit: int
) -> Sequence[ChatMessage]:
    """Remove the newest message instead of the one with the id."""
    return messages[:-1] if new is None else replace_message(messages, message_id, new, limit)


@MUTANTS.breaks((rules, "replace_message"), "edits_keep_the_clients_history_limit")
def edits_do_not_trim(
    messages: Sequence[ChatMessage], message_id: str, new: ChatMessage | None, _limit: int
) -> Sequence[ChatMessage]:
    """Keep all stored messages."""
    return replace_message(messages, message_id, new, len(messages))


@MUTANTS.breaks((rules, "newest"), "edits_keep_the_clients_history_limit")
def a_message_beyond_the_limit_is_edited(
    messages: Sequence[ChatMessage], message_id: str, _limit: int
) -> ChatMessage | None:
    """Find a message that a read of this client does not return."""
    return next((one for one in reversed(messages) if one.id == message_id), None)


@MUTANTS.breaks((MemoryChatStore, "_remove"), "removing_the_last_message_deletes_the_chat")
async def a_chat_without_messages_is_kept(self: MemoryChatStore, room_id: str, message_id: str) -> bool:
    """Keep an empty chat with its TTL."""
    removed = await remove_message(self, room_id, message_id)
    if removed and self._chats.get(room_id) is None:
        self._chats.set(room_id, ChatHistory(), self._chat_ttl_ms)
    return removed


@MUTANTS.breaks(
    (MemoryChatStore, "_remove"),
    "a_removed_message_is_gone",
    "only_kept_messages_are_edited",
    "one_of_two_clients_removes_a_message",
    "edits_keep_the_clients_history_limit",
)
async def every_removal_returns_true(self: MemoryChatStore, room_id: str, message_id: str) -> bool:
    """Return True also if there is no such message."""
    await remove_message(self, room_id, message_id)
    return True


@MUTANTS.breaks((MemoryChatStore, "_remove"), "a_cancelled_removal_is_atomic")
async def a_removal_renews_in_a_second_step(self: MemoryChatStore, room_id: str, message_id: str) -> bool:
    """Remove the message, and then renew the TTL."""
    before = self._chats.get(room_id)
    removed = await remove_message(self, room_id, message_id)
    entry = self._chats.get(room_id)
    if removed and before is not None and entry is not None:
        self._chats.set(room_id, entry.value, before.expires_ms - self._chats._now_ms())
        await asyncio.sleep(0)
        self._chats.set(room_id, entry.value, self._chat_ttl_ms)
    return removed


@MUTANTS.breaks(
    (ChangeEvents, "for_edit"), "edits_of_messages_are_published", "an_edit_can_be_read_when_its_event_arrives"
)
def an_edit_is_published_as_resync(self: ChangeEvents, room_id: str, _message: ChatMessage) -> Sequence[EncodedEvent]:
    """Publish a Resync instead of the message."""
    return self.for_reset(room_id)


@MUTANTS.breaks((ChangeEvents, "for_edit"), "edits_of_messages_are_published")
def edit_events_drop_extra_fields(self: ChangeEvents, room_id: str, message: ChatMessage) -> Sequence[EncodedEvent]:
    """Publish an edited message without its extra fields."""
    declared = {name: getattr(message, name) for name in ChatMessage.model_fields}
    return for_edit(self, room_id, ChatMessage(**declared))


@MUTANTS.breaks((ChangeEvents, "for_edit"), "an_oversized_edit_is_published_as_resync")
def an_oversized_edit_is_not_published(
    self: ChangeEvents, room_id: str, message: ChatMessage
) -> Sequence[EncodedEvent]:
    """Publish nothing if the event is too large."""
    return [one for one in for_edit(self, room_id, message) if not isinstance(one.event, Resync)]


@MUTANTS.breaks((MemoryChatStore, "_remove"), "edits_of_messages_are_published")
async def a_removal_without_effect_is_published(self: MemoryChatStore, room_id: str, message_id: str) -> bool:
    """Publish the removal of a message that does not exist."""
    removed = await remove_message(self, room_id, message_id)
    if not removed:
        self._dispatch(self._change_events.for_removal(room_id, message_id))
    return removed


@MUTANTS.breaks(
    (ChangeEvents, "for_clear"), "a_cleared_chat_is_published", "an_edit_can_be_read_when_its_event_arrives"
)
def a_clear_is_published_as_resync(self: ChangeEvents, room_id: str) -> Sequence[EncodedEvent]:
    """Publish a Resync instead of MessagesCleared."""
    return self.for_reset(room_id)


@MUTANTS.breaks((MemoryChatStore, "_edit"), "a_cancelled_edit_publishes_its_event")
async def an_edit_is_published_in_a_second_step(
    self: MemoryChatStore, room_id: str, message_id: str, edit: MessageEdit, /
) -> ChatMessage | None:
    """Edit a message, and then publish it, unless the caller is cancelled in between."""
    pending: list[Sequence[EncodedEvent]] = []
    with patch.object(self, "_dispatch", pending.append):
        edited = await edit_message(self, room_id, message_id, edit)
    await asyncio.sleep(0)
    for encoded_events in pending:
        self._dispatch(encoded_events)
    return edited


@MUTANTS.breaks(
    (MemoryChatStore, "_remove"),
    "an_edit_can_be_read_when_its_event_arrives",
    "edits_of_messages_are_published",
    "a_cancelled_edit_publishes_its_event",
)
async def a_removal_is_published_before_it_happens(self: MemoryChatStore, room_id: str, message_id: str) -> bool:
    """Publish a removal, and then remove the message, also if the caller is cancelled."""

    async def remove() -> bool:
        self._dispatch(self._change_events.for_removal(room_id, message_id))
        for _ in range(3):
            await asyncio.sleep(0)
        with patch.object(self, "_dispatch"):
            return await remove_message(self, room_id, message_id)

    return await asyncio.shield(asyncio.ensure_future(remove()))


REDIS_MUTANTS.breaks_script(
    "an edit replaces only the newest message with its id",
    (redis_edits, "EDIT"),
    "if is_own[entry] then",
    "if entry == ARGV[9] then",
    "an_id_that_is_stored_twice_is_edited_as_one",
)
REDIS_MUTANTS.breaks_script(
    "an edit does not compare the stored entry",
    (redis_edits, "EDIT"),
    "if not is_expected[ARGV[9]] then",
    "if #entries == 0 then",
    "concurrent_edits_of_two_clients_are_all_applied",
)
REDIS_MUTANTS.breaks_script(
    "a removal gives nonces to damaged entries",
    (redis_edits, "EDIT"),
    "elseif nonce ~= '' and #entry > #nonce and entry:sub(-#nonce):find('^[ \\t\\n\\r]+$') then",
    "elseif nonce ~= '' then",
    "damaged_neighbours_of_an_edit_are_preserved",
    "an_id_that_is_stored_twice_is_edited_as_one",
)
REDIS_MUTANTS.breaks_script(
    "an edit does not renew a chat without a TTL",
    (redis_edits, "EDIT"),
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])",
    "if redis.call('PTTL', KEYS[1]) > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end",
    "a_message_without_a_ttl_is_repaired",
)
