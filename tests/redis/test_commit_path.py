"""The Redis backend's way to a commit, by itself: what is taken for done, what is remembered, and what errors say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, cast
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis

from wnc_store import (
    Conflict,
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
from wnc_store_redis._commands import Sent
from wnc_store_redis._counts import Counts
from wnc_store_redis._keys import Keys
from wnc_store_redis._scripts import COMMIT
from wnc_store_redis._sharded import ShardedCommitPath

STORED = StoredRoom(room("A"), to_wire(room("A")))


class Answers:
    """Commands that answer each script as they were told to.

    Args:
        reply: of the script.
        repeated: whether it is said to be that of a repetition.
    """

    def __init__(self, reply: Any, *, repeated: bool) -> None:
        self._answer = (reply, repeated)
        self.again: list[bytes] = []

    def deadline(self) -> float:
        """See `Commands.deadline`."""
        return 1.0

    async def read(self, *command: bytes, deadline: float) -> bytes:
        """See `Commands.read`."""
        assert command == (b"GET", b"room:A")
        assert deadline == 2.0
        return STORED.version

    async def run(self, *_arguments: Any, deadline: float | None) -> int:
        """See `Commands.run`."""
        assert deadline is None
        return 1

    def send(self, *_arguments: Any, deadline: float) -> Sent:
        """See `Commands.send`: nothing is."""
        return Sent(COMMIT, [], (), deadline, asyncio.get_running_loop().create_future())

    async def settle(self, _sent: Sent, *, again: list[bytes]) -> tuple[list[Any], bool]:
        """See `Commands.settle`."""
        self.again = again
        return self._answer

    def failure(self, error: BaseException, key: bytes, *, unanswered: bool) -> StoreError:
        """See `Commands.failure`."""
        assert unanswered
        return OutcomeUnknownError(f"{error} {key.decode()}")


CHANGED = room("A", "host", "guest", rev=2)


async def commit(path: Any, before: StoredRoom[bytes], after: Room | None) -> Conflict[bytes] | None:
    """Commit, and wait for what becomes of it."""
    return await path.settle(path.begin(before, after, (), 1.0))


@pytest.mark.parametrize(
    ("reply", "repeated", "inserted"),
    [
        (1, False, True),
        (1, True, True),
        ([0, to_wire(CHANGED)], False, False),
        ([0, to_wire(CHANGED)], True, None),
        ([0, None], True, None),
    ],
)
async def test_a_creation_that_may_have_been_repeated(
    store: RedisStore, reply: Any, *, repeated: bool, inserted: bool | None
) -> None:
    """Of a room found instead by a repetition nothing is known: an app may create one room twice, with one token."""
    path: Any = store.rooms._path
    path._commands = answers = Answers(reply, repeated=repeated)
    if inserted is None:
        with pytest.raises(OutcomeUnknownError, match=r"others have changed the room since room:A"):
            await path.insert(room("A"))
    else:
        assert await path.insert(room("A")) is inserted
    before, after, *_ = answers.again
    assert before == after != b""


@pytest.mark.parametrize(
    ("reply", "is_done"), [(1, True), ([0, None], False), (ConnectionResetError(), False), (None, False)]
)
async def test_only_a_reply_that_says_so_is_a_commit(store: RedisStore, reply: Any, *, is_done: bool) -> None:
    """A commit needs no settling if its reply is "committed"; nor is it counted or remembered before."""
    path: Any = store.rooms._path
    path._commands = Answers(None, repeated=False)
    begun = path.begin(STORED, CHANGED, (), 1.0)
    if reply is None:
        begun.sent = None
    elif isinstance(reply, Exception):
        begun.sent.reply.set_exception(reply)
    else:
        begun.sent.reply.set_result(reply)
    assert path.is_done(begun) is is_done
    assert path.seen("A") == (begun.after if is_done else None)
    assert path._counts.commits == is_done


async def test_what_was_written_or_found_is_remembered(store: RedisStore) -> None:
    """A room is remembered as it was stored, after a conflict as it was found, and after its end not at all."""
    path: Any = store.rooms._path
    path._commands = Answers(1, repeated=False)
    assert await commit(path, STORED, CHANGED) is None
    seen = path.seen("A")
    assert seen.room is CHANGED
    assert seen.version.rstrip() == to_wire(CHANGED)
    assert await commit(path, STORED, None) is None
    assert path.seen("A") is None
    path._commands = Answers([0, STORED.version], repeated=False)
    conflict = await commit(path, seen, CHANGED)
    assert conflict == Conflict(STORED)
    assert path.seen("A") == STORED
    path._commands = Answers([0, None], repeated=False)
    assert await commit(path, seen, CHANGED) == Conflict(None)
    assert path.seen("A") is None


@pytest.mark.parametrize(("too_little", "is_remembered"), [(0, True), (1, False)])
async def test_rooms_have_half_of_the_cache(*, too_little: int, is_remembered: bool) -> None:
    """A room is remembered if its stored bytes are no more than a quarter of `cache_bytes`."""
    mark = 16
    quarter = len(to_wire(CHANGED)) + mark - too_little
    path: Any = RedisStore(Redis(port=1), StoreSettings(cache_bytes=4 * quarter)).rooms._path
    path._commands = Answers(1, repeated=False)
    await commit(path, STORED, CHANGED)
    assert (path.seen("A") is not None) is is_remembered


async def test_each_conflict_is_counted(store: RedisStore) -> None:
    """Each commit that found another room than it started from is a retry, and none of the commits."""
    path: Any = store.rooms._path
    path._commands = Answers([0, STORED.version], repeated=False)
    for _ in range(2):
        assert await commit(path, STORED, CHANGED) is not None
    counted = store.statistics()
    assert (counted["retries"], counted["commits"]) == (2, 0)


async def test_a_room_is_read_in_time(store: RedisStore) -> None:
    """A room is read until the deadline that is given, and remembered."""
    path: Any = store.rooms._path
    path._commands = Answers(1, repeated=False)
    assert await path.load("A", 2.0) == STORED
    assert path.seen("A") == STORED


async def test_a_room_that_is_removed_is_not_remembered(store: RedisStore) -> None:
    """A room that was deleted is remembered no longer."""
    path: Any = store.rooms._path
    path._commands = Answers(1, repeated=False)
    await commit(path, STORED, CHANGED)
    assert await path.remove("A") is True
    assert path.seen("A") is None


async def test_a_commit_that_may_have_been_repeated(store: RedisStore) -> None:
    """A repetition that finds no room has deleted it; one that finds anything else than it wrote knows nothing."""
    path: Any = store.rooms._path
    path._commands = Answers([0, None], repeated=True)
    assert await commit(path, STORED, None) is None
    for found in (None, STORED.version):
        path._commands = Answers([0, found], repeated=True)
        with pytest.raises(OutcomeUnknownError):
            await commit(path, STORED, CHANGED)


async def test_two_commits_of_the_same_are_told_apart(store: RedisStore) -> None:
    """The stored bytes of two commits differ, even if they store the same room."""
    path: Any = store.rooms._path
    path._commands = answers = Answers(1, repeated=False)
    stored: set[bytes] = set()
    for _ in range(10):
        await commit(path, STORED, CHANGED)
        stored.add(answers.again[1])
    assert len(stored) == 10
    assert {one.rstrip() for one in stored} == {to_wire(CHANGED)}


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
    error = store.rooms._path.unknown("A")
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


class Existing:
    """Commands to a server that has some rooms.

    Args:
        rooms: the numbers of those that live.
    """

    def __init__(self, rooms: Collection[int]) -> None:
        self._keys = {f"room:{number}".encode() for number in rooms}
        self.asked: list[int] = []

    async def read_many(self, commands: Sequence[Sequence[bytes]]) -> list[int]:
        """EXISTS."""
        assert {name for name, *_ in commands} == {b"EXISTS"}
        self.asked += [len(keys) for _, *keys in commands]
        return [sum(key in self._keys for key in keys) for _, *keys in commands]


@pytest.mark.parametrize(
    ("rooms", "commands"),
    [
        (range(500), 1),
        (range(0), 1),
        ([7], 1 + 16 + 16 + 2),
        (range(0, 500, 100), 1 + 16 + 5 * 16 + 5 * 2),
        (range(499), 1 + 16 + 10 + 2),
    ],
)
async def test_the_living_are_found_by_counting(store: RedisStore, rooms: Collection[int], commands: int) -> None:
    """Which rooms of a page live is asked of all at once, and of ever smaller parts only where some live."""
    path: Any = store.rooms._path
    path._commands = existing = Existing(rooms)
    living = await path.living([str(number).encode() for number in range(500)])
    assert sorted(int(entry) for entry in living) == list(rooms)
    assert len(existing.asked) == commands


async def test_no_command_counts_very_many(store: RedisStore) -> None:
    """A page of many thousand rooms, which SSCAN may return, is asked about in parts that do not hold up the server."""
    path: Any = store.rooms._path
    path._commands = existing = Existing(range(20_000))
    assert len(await path.living([str(number).encode() for number in range(20_000)])) == 20_000
    assert max(existing.asked) <= 1000
    assert len(existing.asked) == 20


class Clocked:
    """Commands that note until when each is to be done.

    Attributes:
        ends: when, of all.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.ends: set[float | None] = set()
        self._now = 0.0

    def deadline(self) -> float:
        """See `Commands.deadline`; time goes on."""
        self._now += 1
        return self._now

    async def read(self, *_command: bytes, deadline: float | None = None) -> Any:
        """See `Commands.read`: there is nothing."""
        self.ends.add(deadline)
        return ()

    async def mend(self, commands: Sequence[Any], deadline: float) -> Any:
        """See `Commands.mend`."""
        self.ends.add(deadline)
        return [1] * len(commands)

    def send(self, *_arguments: Any, deadline: float) -> Any:
        """See `Commands.send`."""
        self.ends.add(deadline)

    async def settle(self, _sent: object, *, again: object) -> Any:
        """See `Commands.settle`: it is committed."""
        assert again
        return 1, False

    async def run(self, *_arguments: Any, deadline: float | None = None) -> int:
        """See `Commands.run`."""
        self.ends.add(deadline)
        return 1


@pytest.mark.parametrize(("operation", "argument"), [("insert", room("A")), ("remove", "A")])
async def test_the_steps_on_a_cluster_share_one_time(operation: str, argument: object) -> None:
    """Creating or deleting a room on a cluster takes no longer than one operation may, in all of its steps."""
    commands, settings = Clocked(), StoreSettings()
    path: Any = ShardedCommitPath(cast("Any", commands), Keys("", 0), settings, OwnChanges(settings), Mock())
    assert await getattr(path, operation)(argument) is True
    assert commands.ends == {1.0}
