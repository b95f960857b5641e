"""Tests of the store on a key-value database, beyond the contract: what remains in the database, and statistics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from unittest.mock import Mock

import pytest

from tiny_database import TinyDatabase, TinyHarness
from wnc_store import CorruptRecordError, MessageAdded, OutcomeUnknownError, Resync, StoreError, StoreUnavailableError
from wnc_store.base import KeyValueEntry, KeyValueStore
from wnc_store_contract.factories import message, room, user

DAY = timedelta(days=1).total_seconds()
PREFIX = "app:"


@pytest.fixture(name="harness")
def _harness() -> TinyHarness:
    return TinyHarness()


@pytest.fixture(name="store")
async def _store(harness: TinyHarness) -> AsyncIterator[KeyValueStore]:
    """A store that publishes its changes."""
    async with harness.open_store(key_prefix=PREFIX, publish_changes=True) as store:
        yield store


async def count(harness: TinyHarness, kind: str) -> int:
    """Return the number of stored entries of a kind, expired ones included."""
    found = await harness.open_database().transact(
        lambda transaction: transaction.scan(f"{kind} {PREFIX}", "", 1000), writes=False
    )
    return len(found)


async def test_the_sweep_deletes_every_kind_of_expired_record(harness: TinyHarness, store: KeyValueStore) -> None:
    """The sweep also deletes expired chats, leases, counts and events, but it counts only rooms."""
    await store.rooms.create_room(room("A"))
    for number in range(3):
        await store.chat.add_message(message(number, "B"))
    await store.connections.acquire("ip", "connection")
    await store.rate_limits.hit("ip")
    await harness.advance(DAY)
    await store.rooms.create_room(room("C"))
    assert await store.rooms.sweep_active_rooms() == 1
    counts = [await count(harness, kind) for kind in ("rooms", "chats", "connections", "hits", "events")]
    assert counts == [1, 0, 0, 0, 1]


async def test_the_sweep_is_several_transactions(harness: TinyHarness, store: KeyValueStore) -> None:
    """The sweep reads at most 100 records in each transaction, and another client can write between them."""
    for number in range(250):
        await store.rooms.create_room(room(f"{number:03d}"))
    await harness.advance(DAY)
    reads: list[int] = []
    scan = harness.data.scan

    def count_reads(space: str, after: str, limit: int, /) -> Sequence[tuple[str, KeyValueEntry]]:
        found = scan(space, after, limit)
        reads.append(len(found) if space.startswith("rooms") else 0)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness.data, "scan", count_reads)
        sweep = asyncio.ensure_future(store.rooms.sweep_active_rooms())
        while not any(reads):  # noqa: ASYNC110 - the database has no signal for this
            await asyncio.sleep(0)
        await store.rooms.create_room(room("249"))
        assert not sweep.done()
        assert await sweep == 249
    assert max(reads) == 100


@pytest.mark.parametrize("error", [StoreUnavailableError("lost"), OutcomeUnknownError("lost")])
async def test_an_interrupted_sweep_reports_what_it_removed(
    harness: TinyHarness, store: KeyValueStore, monkeypatch: pytest.MonkeyPatch, error: StoreUnavailableError
) -> None:
    """If a sweep fails after a transaction that removed rooms, it raises OutcomeUnknownError with their number."""
    for number in range(150):
        await store.rooms.create_room(room(f"{number:03d}"))
    await harness.advance(DAY)
    scan = harness.data.scan

    def fail_at_second_page(space: str, after: str, limit: int, /) -> Sequence[tuple[str, KeyValueEntry]]:
        if after == "099":
            raise error
        return scan(space, after, limit)

    with monkeypatch.context() as patch:
        patch.setattr(harness.data, "scan", fail_at_second_page)
        with pytest.raises(
            OutcomeUnknownError, match=r"100 entries of expired rooms .* before an error: lost"
        ) as caught:
            await store.rooms.sweep_active_rooms()
    assert caught.value.final_after == (None if isinstance(error, OutcomeUnknownError) else timedelta(0))
    assert await store.rooms.sweep_active_rooms() == 50


async def test_acquiring_deletes_expired_leases(harness: TinyHarness, store: KeyValueStore) -> None:
    """The leases of a key do not accumulate without a sweep."""
    for number in range(3):
        await store.connections.acquire("ip", f"connection-{number}", limit=1)
        await harness.advance(DAY)
    assert await count(harness, "connections") == 1


@pytest.mark.parametrize(("rooms", "expected"), [(0, 1), (499, 1), (500, 2), (501, 2)])
async def test_a_page_that_is_not_full_is_the_last_one(
    harness: TinyHarness, store: KeyValueStore, monkeypatch: pytest.MonkeyPatch, rooms: int, expected: int
) -> None:
    """A listing reads pages of 500 rooms, each in one transaction, and none after a page that is not full."""
    for number in range(rooms):
        await store.rooms.create_room(room(f"{number:03d}"))
    scan = Mock(wraps=harness.data.scan)
    monkeypatch.setattr(harness.data, "scan", scan)
    assert len([room_id async for room_id in store.rooms.active_room_ids()]) == rooms
    assert scan.call_count == expected


@pytest.mark.parametrize(("leases", "expected"), [(499, 3), (500, 4)])
async def test_leases_are_counted_in_full_pages(
    harness: TinyHarness, store: KeyValueStore, monkeypatch: pytest.MonkeyPatch, leases: int, expected: int
) -> None:
    """The count of a key reads pages of 500 leases, and none after a page that is not full or has another key."""
    for number in range(leases):
        await store.connections.acquire("b", f"connection-{number}", limit=leases)
    scan = Mock(wraps=harness.data.scan)
    monkeypatch.setattr(harness.data, "scan", scan)
    assert await store.connections.count("a") == 0
    assert await store.connections.count("c") == 0
    assert await store.connections.count("b") == leases
    assert scan.call_count == expected


async def test_the_log_of_events_does_not_grow(harness: TinyHarness, store: KeyValueStore) -> None:
    """Each publication deletes about as many expired events as it stores."""
    for _ in range(20):
        await store.chat.add_message(message(1, "A"))
        await store.chat.clear_messages("A")
    assert await count(harness, "events") == 40
    await harness.advance(60)
    for _ in range(20):
        await store.chat.add_message(message(1, "A"))
        await store.chat.clear_messages("A")
    assert await count(harness, "events") == 40


async def test_statistics_count_commits_and_conflicts(harness: TinyHarness, store: KeyValueStore) -> None:
    """A commit of several updates counts once, and a conflict with another client as a retry."""
    await store.rooms.create_room(room("A"))
    async with harness.open_store(key_prefix=PREFIX) as other:
        await store.rooms.add_user_to_room("A", user("a"))
        assert store.statistics() == {"commits": 1, "retries": 0}

        conflicts = iter([True])

        async def conflict_once(room_id: str) -> object:
            found = await read(room_id)
            if next(conflicts, False):
                await other.rooms.add_user_to_room("A", user("b"))
            return found

        read = store.rooms._get_versioned
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.rooms, "_get_versioned", conflict_once)
            await store.rooms.add_user_to_room("A", user("c"))
    assert store.statistics() == {"commits": 2, "retries": 1}


async def test_a_database_can_refuse_the_close(harness: TinyHarness) -> None:
    """If the database can't be closed here, for example in its own event loop, the store stays open."""

    class Elsewhere(TinyDatabase):
        """A database of another event loop."""

        def check_close(self) -> None:
            """See `KeyValueDatabase.check_close`."""
            message = "another event loop"
            raise StoreError(message)

    store = KeyValueStore(Elsewhere(harness.data))
    with pytest.raises(StoreError, match="another event loop"):
        await store.aclose()
    assert not store.closed
    await store.ping()


@pytest.mark.parametrize("value", [b"x", b"", b"-1", b"9" * 19])
async def test_an_invalid_event_number_is_an_error(harness: TinyHarness, store: KeyValueStore, value: bytes) -> None:
    """If the number of the newest event is invalid, a change raises CorruptRecordError with the key, and is undone.

    Subscribers receive a Resync, and later events after the repair.
    """

    async def put(value: bytes) -> None:
        await harness.open_database().transact(
            lambda found: found.put(f"sequence {PREFIX}", "", KeyValueEntry(value, None)), writes=True
        )

    async with store.events.subscribe("A") as events:
        await put(value)
        assert await anext(events) == Resync(room_id="A")
        with pytest.raises(CorruptRecordError, match=f"sequence/{PREFIX}"):
            await store.chat.add_message(message(1, "A"))
        assert await store.chat.get_messages("A") == []
        await put(b"0")
        await store.chat.add_message(message(1, "A"))
        assert isinstance(await anext(events), MessageAdded)


async def test_a_foreign_key_in_the_log_of_events_is_skipped(harness: TinyHarness, store: KeyValueStore) -> None:
    """A key that is not the key of an event is skipped, and the later events arrive."""
    async with store.events.subscribe("A") as events:
        await harness.open_database().transact(
            lambda found: found.put(f"events {PREFIX}", "1", KeyValueEntry(b"text", None)), writes=True
        )
        await store.chat.add_message(message(1, "A"))
        assert isinstance(await anext(events), MessageAdded)


def test_the_repr_of_an_entry_hides_its_value() -> None:
    """Local variables in tracebacks do not show stored values."""
    assert repr(KeyValueEntry(b"secret", 5)) == "<6 bytes, expires_ms=5>"
