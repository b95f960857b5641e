"""The Redis backend's way to a commit, by itself: time that runs out, and what errors say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from wnc_store import (
    Conflict,
    ConflictError,
    OutcomeUnknownError,
    OwnChanges,
    Room,
    Store,
    StoredRoom,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    to_wire,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis._commit_path import CommitPath
from wnc_store_redis._group_commit import GroupCommit

STORED = StoredRoom(room("A"), to_wire(room("A")))


class Path:
    """A way to commits that is told what to answer.

    Args:
        answer: of each commit; by default there is none, ever.
        seconds: how long a change may take.
    """

    def __init__(self, answer: Callable[[], Conflict[bytes] | None] | None = None, seconds: float = 0.05) -> None:
        self._answer = answer
        self._seconds = seconds
        self.committed: list[Room | None] = []
        self.began = asyncio.Event()

    def deadline(self) -> float:
        """See `CommitPath.deadline`."""
        return asyncio.get_running_loop().time() + self._seconds

    def seen(self, room_id: str) -> StoredRoom[bytes] | None:
        """See `CommitPath.seen`."""
        return STORED if room_id == "A" else None

    async def commit(
        self, _before: object, after: Room | None, _events: object, _deadline: float
    ) -> Conflict[bytes] | None:
        """See `CommitPath.commit`."""
        self.committed.append(after)
        self.began.set()
        if self._answer is None:
            await asyncio.Event().wait()
            raise AssertionError
        await asyncio.sleep(0.001)
        return self._answer()

    def late(self, room_id: str, *, unanswered: bool) -> StoreError:
        """See `CommitPath.late`."""
        return OutcomeUnknownError(room_id) if unanswered else StoreTimeoutError(room_id)


def group(path: Path) -> GroupCommit:
    """Return a group commit on a path, which tells nobody."""
    return GroupCommit(cast("CommitPath", path), OwnChanges(StoreSettings()))


def joins(name: str) -> Callable[[Room], Room]:
    """Return a rule that changes a room."""
    return lambda before: before.model_copy(update={"host_name": name})


async def test_a_change_that_waits_ends_at_its_own_time() -> None:
    """Behind a commit without answer, a change that was not sent times out; what became of the other is unknown."""
    path = Path()
    changes = group(path)
    sent = asyncio.ensure_future(changes.change("A", joins("sent")))
    await path.began.wait()
    waiting = asyncio.ensure_future(changes.change("A", joins("waiting")))
    results = await asyncio.gather(sent, waiting, return_exceptions=True)
    assert [repr(one) for one in results] == ["OutcomeUnknownError('A')", "StoreTimeoutError('A')"]
    assert [one and one.host_name for one in path.committed] == ["sent"]
    for task in changes._tasks:
        task.cancel()


async def test_a_change_gives_up_when_others_are_always_faster() -> None:
    """Where each attempt finds another room, a change ends in time, as a ConflictError that says how often it tried."""
    path = Path(lambda: Conflict(STORED))
    changes = group(path)
    start = asyncio.get_running_loop().time()
    with pytest.raises(ConflictError) as caught:
        await changes.change("A", joins("slow"))
    assert caught.value.room_id == "A"
    assert caught.value.attempts == len(path.committed)
    assert asyncio.get_running_loop().time() - start < path._seconds + 0.02


async def test_a_conflict_with_time_left_is_tried_again() -> None:
    """As long as there is time, a change is applied to what was found instead."""
    answers: list[Conflict[bytes] | None] = [Conflict(STORED)] * 3 + [None]
    path = Path(lambda: answers.pop(0), seconds=5)
    after = await group(path).change("A", joins("patient"))
    assert after is not None
    assert after.host_name == "patient"
    assert len(path.committed) == 4


@pytest.fixture
def store() -> RedisStore:
    """A store that connects to nothing."""
    return RedisStore(Redis(port=1))


def test_what_is_late_names_its_room(store: RedisStore) -> None:
    """A change that is out of time names the room's key, and whether it may have happened."""
    sent, waiting = (store.rooms._path.late("A", unanswered=sent) for sent in (True, False))
    assert isinstance(sent, OutcomeUnknownError)
    assert type(waiting) is StoreTimeoutError
    assert "'room:A'" in str(sent)
    assert "'room:A'" in str(waiting)


def test_an_unknown_commit_names_its_room(store: RedisStore) -> None:
    """A commit whose outcome can't be found out names the room's key."""
    error = store.rooms._path._unknown("A")
    assert isinstance(error, OutcomeUnknownError)
    assert "'room:A'" in str(error)


CALLS: dict[str, tuple[Callable[[Store], Awaitable[Any]], str]] = {
    "create": (lambda store: store.rooms.create_room(room("A")), "room:A"),
    "get": (lambda store: store.rooms.get_room("A"), "room:A"),
    "ttl": (lambda store: store.rooms.room_ttl("A"), "room:A"),
    "join": (lambda store: store.rooms.add_user_to_room("A", user("guest")), "room:A"),
    "delete": (lambda store: store.rooms.delete_room("A"), "room:A"),
    "say": (lambda store: store.chat.add_message(message(1, "A")), "chat:A"),
    "read": (lambda store: store.chat.get_messages("A"), "chat:A"),
    "clear": (lambda store: store.chat.clear_messages("A"), "chat:A"),
    "chat ttl": (lambda store: store.chat.chat_ttl("A"), "chat:A"),
    "sweep": (lambda store: store.rooms.sweep_active_rooms(), "active-rooms"),
}


@pytest.mark.parametrize(("call", "key"), CALLS.values(), ids=CALLS)
async def test_an_error_names_the_key(call: Callable[[Store], Awaitable[Any]], key: str) -> None:
    """Where nothing listens, each call says what it was about, and that it did not happen."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = StoreSettings(operation_timeout=timedelta(seconds=2))
    async with RedisStore.from_url(f"redis://127.0.0.1:{port}/0", settings) as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await call(store)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert f"(key {key!r})" in str(caught.value)
