"""Tests of the chat store that edits and removes messages by compare-and-set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from virtual_time import VirtualTimeLoop, now
from wnc_store import ChatMessage, ConflictError, RoomEvent, StoreSettings, StoreTimeoutError
from wnc_store.base import CompareAndSetChatStore, EncodedEvent, Lifecycle, VersionedMessage

MESSAGE = ChatMessage(id="m", room_id="A", user_id="ann", user_name="Ann", message="text")


class OneMessageStore(CompareAndSetChatStore[int]):
    """A store of one message, whose version is a counter. Each compare-and-set takes 0.5 s.

    Attributes:
        stored: the message; None if it was removed.
        others: the messages that other clients store, one during each compare-and-set.
        attempts: the number of compare-and-sets.
        events: the events that were published.
    """

    def __init__(self, others: Sequence[ChatMessage | None] = ()) -> None:
        settings = StoreSettings(operation_timeout=timedelta(seconds=2), publish_changes=True)
        super().__init__(settings, Lifecycle())
        self.stored: ChatMessage | None = MESSAGE
        self.others = list(others)
        self.attempts = 0
        self.events: list[RoomEvent] = []
        self._version = 0

    async def _find(self, room_id: str, message_id: str, /) -> VersionedMessage[int] | None:
        assert (room_id, message_id) == ("A", "m")
        return self.stored and VersionedMessage(self.stored, self._version)

    async def _compare_and_replace(
        self,
        room_id: str,
        before: VersionedMessage[int],
        after: ChatMessage | None,
        encoded_events: Sequence[EncodedEvent],
        /,
    ) -> bool:
        assert room_id == "A"
        self.attempts += 1
        await asyncio.sleep(0.5)
        if self.others:
            self.stored = self.others.pop(0)
            self._version += 1
        if before.version != self._version:
            return False
        self.stored = after
        self._version += 1
        self.events += [encoded_event.event for encoded_event in encoded_events]
        return True

    async def _add(self, message: ChatMessage) -> None:
        raise NotImplementedError

    async def _get_messages(self, room_id: str) -> Sequence[ChatMessage]:
        raise NotImplementedError

    async def _delete_messages(self, room_id: str) -> None:
        raise NotImplementedError

    async def _get_ttl(self, room_id: str) -> timedelta | None:
        raise NotImplementedError


def append(message: ChatMessage, text: str) -> ChatMessage:
    """Return a message with a longer text."""
    return message.replace(message=message.message + text)


async def test_an_edit_is_applied_again_to_the_current_message() -> None:
    """After a mismatch, an edit is applied to the message as another client has stored it."""
    store = OneMessageStore([append(MESSAGE, " by another")])
    edited = await store.edit_message("A", "m", lambda message: append(message, " and us"))
    assert edited is store.stored
    assert edited is not None
    assert edited.message == "text by another and us"
    assert [type(event).__name__ for event in store.events] == ["MessageChanged"]


async def test_a_removed_message_is_not_changed() -> None:
    """If another client removes the message during a compare-and-set, the edit returns None and the removal False."""
    assert await OneMessageStore([None]).edit_message("A", "m", lambda message: append(message, "!")) is None
    assert await OneMessageStore([None]).remove_message("A", "m") is False


async def test_a_removal_is_committed() -> None:
    """A removal replaces the message by None and publishes its event."""
    store = OneMessageStore()
    assert await store.remove_message("A", "m") is True
    assert store.stored is None
    assert [type(event).__name__ for event in store.events] == ["MessageRemoved"]


async def test_concurrent_edits_do_not_conflict() -> None:
    """Concurrent edits of one chat by one store run one after another, and each needs one compare-and-set."""
    store = OneMessageStore()
    edits = [store.edit_message("A", "m", lambda message, text=text: append(message, text)) for text in "abc"]
    await asyncio.gather(*edits)
    assert store.stored == append(MESSAGE, "abc")
    assert store.attempts == 3


async def test_an_edit_that_always_conflicts_fails() -> None:
    """If every attempt conflicts until the time for another is too short, the edit raises ConflictError."""
    store, started_at = OneMessageStore([MESSAGE] * 9), now()
    with pytest.raises(ConflictError, match=r"chat of room 'A' .* each of 4 attempts"):
        await store.edit_message("A", "m", lambda message: append(message, "!"))
    assert now() - started_at == pytest.approx(2)


async def test_an_edit_behind_others_times_out() -> None:
    """An edit that waits for other edits of the chat until its deadline raises StoreTimeoutError and writes nothing."""
    store = OneMessageStore()
    edits = [store.edit_message("A", "m", lambda message, text=text: append(message, text)) for text in "abcde"]
    outcomes = await asyncio.gather(*edits, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ChatMessage] * 4 + [StoreTimeoutError]
    assert store.stored == append(MESSAGE, "abcd")


def test_a_lock_of_another_event_loop_is_not_awaited() -> None:
    """While a change runs in another event loop, a change reaches the database, which rejects other event loops."""
    store, first = OneMessageStore(), VirtualTimeLoop()
    change = first.create_task(store.edit_message("A", "m", lambda message: append(message, " 1")))
    first.run_until_complete(asyncio.sleep(0))
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as second:
        assert second.run(store.remove_message("A", "m")) is True
    assert first.run_until_complete(change) is None
    first.close()
