"""Tests of the room store that commits concurrent updates together: batches, outcomes and deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from eager_tasks import use_eager_tasks
from one_room_store import CHANGED, STORED, GroupedOneRoomStore
from virtual_time import idle, now, pass_time
from wnc_store import ConflictError, OutcomeUnknownError, Room, StoreUnavailableError, UserNotFoundError
from wnc_store_contract.factories import room, user

SECONDS = timedelta(seconds=2)


def join(store: GroupedOneRoomStore, *names: str) -> list[asyncio.Future[Room]]:
    """Start joins of room A in one tick."""
    return [asyncio.ensure_future(store.add_user_to_room("A", user(name))) for name in names]


def users(stored: Room | None) -> Sequence[str]:
    """Return the ids of the users of a room."""
    assert stored is not None
    return [one.id for one in stored.users]


async def errors(*calls: asyncio.Future[Any]) -> list[str]:
    """Return the types of the results or errors of calls."""
    return [type(outcome).__name__ for outcome in await asyncio.gather(*calls, return_exceptions=True)]


@pytest.mark.parametrize("is_eager", [False, True], ids=["lazy tasks", "eager tasks"])
async def test_updates_of_one_tick_are_one_commit(*, is_eager: bool) -> None:
    """Updates of one tick are applied in order, and committed once with the events of all; each caller has its room."""
    store = GroupedOneRoomStore(has_events=True)
    if is_eager:
        use_eager_tasks()
    rooms = await asyncio.gather(*join(store, "a", "b", "c"))
    assert [users(updated)[2:] for updated in rooms] == [["a"], ["a", "b"], ["a", "b", "c"]]
    assert rooms[-1] is store.stored
    assert (store.reads, store.attempts) == (1, 1)
    assert [event.rev for event in store.events[0]] == [1, 2, 3]


async def test_updates_during_a_commit_are_the_next_one() -> None:
    """Updates that arrive during a commit are committed together after it."""
    store = GroupedOneRoomStore()
    store.commit_seconds = 0.1
    calls = join(store, "first")
    await idle()
    for name in "abcd":
        calls += join(store, name)
        await idle()
    await asyncio.gather(*calls)
    assert users(store.stored)[2:] == ["first", *"abcd"]
    assert store.attempts == 2


async def test_a_batch_is_applied_again_to_the_current_room() -> None:
    """After a mismatch, the whole batch is applied to the room that the mismatch returned, without a read."""
    store = GroupedOneRoomStore([CHANGED])
    first, second = await asyncio.gather(*join(store, "a", "b"))
    assert [users(first)[2:], users(second)[2:]] == [["third", "a"], ["third", "a", "b"]]
    assert (store.reads, store.attempts) == (1, 2)


async def test_a_failing_transition_fails_alone() -> None:
    """A transition that raises fails its own caller; the updates before and behind it are committed."""
    store = GroupedOneRoomStore()

    def stop(_: Room) -> Room:
        raise StopIteration

    first, failed, stopped, last = await asyncio.gather(
        store.add_user_to_room("A", user("a")),
        store.transfer_host("A", "stranger"),
        store.edit_room("A", stop),
        store.add_user_to_room("A", user("b")),
        return_exceptions=True,
    )
    assert isinstance(failed, UserNotFoundError)
    assert isinstance(stopped, RuntimeError)
    assert isinstance(first, Room)
    assert last is store.stored
    assert users(store.stored)[2:] == ["a", "b"]
    assert store.attempts == 1


async def test_updates_of_a_missing_room_find_no_room() -> None:
    """Updates behind the last leave of a batch, and updates of a room that does not exist, raise RoomNotFoundError."""
    store = GroupedOneRoomStore()
    store.stored = room("A", "host")
    leave = asyncio.ensure_future(store.remove_user_from_room("A", "host"))
    assert await errors(leave, *join(store, "a")) == ["NoneType", "RoomNotFoundError"]
    assert store.stored is None
    assert await errors(*join(store, "b")) == ["RoomNotFoundError"]
    assert store.attempts == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("not now"), OutcomeUnknownError("lost")], ids=repr)
async def test_each_caller_of_a_failed_commit_gets_its_own_error(error: StoreUnavailableError) -> None:
    """Each caller of a failed batch gets its own copy of the error with the same cause. The next batch is committed."""
    store, error.__cause__ = GroupedOneRoomStore(), OSError("no route")

    def fail() -> None:
        raise error

    store.before_commit = fail
    leave = asyncio.ensure_future(store.remove_user_from_room("A", "host"))
    outcomes = await asyncio.gather(leave, *join(store, "a"), return_exceptions=True)
    assert [(type(outcome), str(outcome)) for outcome in outcomes] == [(type(error), str(error))] * 2
    assert len({id(outcome) for outcome in [*outcomes, error]}) == 3
    assert {id(outcome.__cause__) for outcome in outcomes if isinstance(outcome, Exception)} == {id(error.__cause__)}
    store.before_commit = lambda: None
    await asyncio.gather(*join(store, "b"))


async def test_each_update_fails_at_its_own_deadline() -> None:
    """The outcome of an update that was sent is unknown, and the one behind it, which waits for a read, times out."""
    store, started_at = GroupedOneRoomStore(timeout=SECONDS), now()
    store.commit_seconds = 1000
    failed_at: list[float] = []
    calls = join(store, "sent")
    await pass_time(1)
    store.read_seconds = 1000
    calls += join(store, "waiting")
    for call in calls:
        call.add_done_callback(lambda _: failed_at.append(now() - started_at))
    assert await errors(*calls) == ["OutcomeUnknownError", "StoreTimeoutError"]
    assert failed_at == pytest.approx([2, 3], abs=0.05)
    store.commit_seconds = store.read_seconds = 0
    assert users((await asyncio.gather(*join(store, "later")))[0])[2:] == ["later"]


async def test_a_commit_that_never_ends_delays_the_next_batch_until_its_deadline() -> None:
    """A commit is cancelled at the deadline of the batch's last update, and the updates behind it are committed."""
    store = GroupedOneRoomStore(timeout=SECONDS)
    store.commit_seconds = 1000
    (stuck,) = join(store, "stuck")
    await pass_time(1.5)
    store.commit_seconds = 0.1
    behind = await asyncio.gather(*join(store, "behind"))
    assert await errors(stuck) == ["OutcomeUnknownError"]
    assert users(behind[0])[2:] == ["behind"]


async def test_an_update_without_time_for_another_attempt_fails() -> None:
    """After four attempts of 0.45 s, an update with 0.2 s left fails, and one with 1.7 s left is committed."""
    store = GroupedOneRoomStore([CHANGED] * 4, timeout=SECONDS)
    store.commit_seconds = 0.45
    (brief,) = join(store, "brief")
    await pass_time(1.5)
    (patient,) = join(store, "patient")
    with pytest.raises(ConflictError, match=r"'A'.* each of 4 attempts"):
        await brief
    assert users(await patient) == ["host", "other", "third", "patient"]


async def test_slow_transitions_are_committed_in_parts() -> None:
    """After transitions have used 20 ms, the other updates wait for the next commit, in the same order."""
    store = GroupedOneRoomStore()
    loop: Any = asyncio.get_running_loop()

    def slow(name: str) -> Callable[[Room], Room]:
        def change(before: Room) -> Room:
            loop._now += 0.015  # the clock of the loop, which is virtual
            return before.replace(host_name=before.host_name + name)

        return change

    rooms = await asyncio.gather(*(store.edit_room("A", slow(name)) for name in "abcde"))
    assert [updated.host_name[-1] for updated in rooms] == list("abcde")
    assert store.stored is rooms[-1]
    assert rooms[-1].host_name.endswith("abcde")
    assert store.attempts == 3


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, ["Room"] * 3), (1000, ["OutcomeUnknownError", *["StoreTimeoutError"] * 2])]
)
async def test_an_update_that_waits_again_keeps_its_place(seconds: float, expected: list[str]) -> None:
    """An update that a repeated attempt has no time for is committed before those behind it, or was not sent."""
    store = GroupedOneRoomStore([CHANGED], timeout=SECONDS)
    store.commit_seconds = 0.1
    loop: Any = asyncio.get_running_loop()

    def slow_again(before: Room) -> Room:
        if before.rev >= CHANGED.rev:
            loop._now += 0.03
            store.commit_seconds = store.read_seconds = seconds
        return before.replace(host_name="slow")

    calls = [asyncio.ensure_future(store.edit_room("A", slow_again)), *join(store, "again")]
    await asyncio.sleep(0.05)
    calls += join(store, "behind")
    assert await errors(*calls) == expected
    assert users(store.stored)[3:] == ([] if seconds else ["again", "behind"])


async def test_a_batch_on_the_room_that_was_seen_needs_no_read() -> None:
    """A batch starts from the room that the store last saw. If that is out of date, the mismatch returns the room."""
    store = GroupedOneRoomStore()
    store.seen = store.current()
    await asyncio.gather(*join(store, "a"))
    await asyncio.gather(*join(store, "b"))
    assert users(store.stored)[2:] == ["a", "b"]
    assert (store.reads, store.attempts) == (0, 3)


async def test_an_update_without_effect_reads_the_room() -> None:
    """A batch that would not change the room that was seen, or that fails on it, is applied to the current room."""
    store = GroupedOneRoomStore()
    store.seen = store.current()
    store.store(CHANGED)
    same, new_host = await asyncio.gather(
        store.remove_user_from_room("A", "stranger"), store.transfer_host("A", "third"), return_exceptions=True
    )
    assert same is CHANGED
    assert isinstance(new_host, Room)
    assert new_host.host_id == "third"
    store.seen = None
    assert await store.remove_user_from_room("A", "stranger") is store.stored
    assert STORED is not store.stored
