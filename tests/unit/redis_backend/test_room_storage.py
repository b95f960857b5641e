"""The way to a commit by itself: what is taken for done, what is remembered, and what errors say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from wnc_store import (
    OutcomeUnknownError,
    Room,
    Store,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    from_wire,
    to_wire,
)
from wnc_store.base import ChangeEvents, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import PendingCommit, RoomStorage
from wnc_store_redis.scripts import COMMIT
from wnc_store_redis.sharded import ShardedRoomStorage
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript
from wnc_store_redis.transport.statistics import Statistics

STORED = VersionedRoom(room("A"), to_wire(room("A")))
CHANGED = room("A", "host", "guest", rev=2)
MARK = 16
"""Bytes by which what is stored differs from the JSON."""


class Answers:
    """Commands that answer each script as they were told to, and that do all else.

    Attributes:
        reply: of the script.
        repeated: whether it is said to be that of a repetition.
        again: what a repetition would be sent with.
        ends: until when things were to be done, of all.
        lives: the keys of rooms that live.
        asked: how many keys each EXISTS was about.
    """

    def __init__(self, reply: Any = 1, *, repeated: bool = False) -> None:
        self.reply, self.repeated = reply, repeated
        self.statistics = Statistics()
        self.again: list[bytes] = []
        self.ends: set[float | None] = set()
        self.lives: Collection[bytes] = ()
        self.asked: list[int] = []
        self._now = 0.0

    def deadline(self) -> float:
        """See `CommandExecutor.deadline`; time goes on."""
        self._now += 1
        return self._now

    async def read(self, name: bytes, *_words: bytes, deadline: float | None = None) -> Any:
        """See `CommandExecutor.read`: there is the room, and nothing else."""
        self.ends.add(deadline)
        return STORED.version if name == b"GET" else ()

    async def read_many(self, commands: Sequence[Sequence[bytes]]) -> list[int]:
        """See `CommandExecutor.read_many`: EXISTS."""
        assert {name for name, *_ in commands} == {b"EXISTS"}
        self.asked += [len(keys) for _, *keys in commands]
        return [sum(key in self.lives for key in keys) for _, *keys in commands]

    async def write_idempotent(self, commands: Sequence[Any], deadline: float) -> Any:
        """See `CommandExecutor.write_idempotent`."""
        self.ends.add(deadline)
        return [1] * len(commands)

    async def run_script(self, *_arguments: Any, deadline: float | None = None) -> int:
        """See `CommandExecutor.run_script`."""
        self.ends.add(deadline)
        return 1

    def start_script(self, *_arguments: Any, deadline: float) -> InFlightScript:
        """See `CommandExecutor.start_script`: nothing is."""
        self.ends.add(deadline)
        return InFlightScript(COMMIT, [], (), deadline, asyncio.get_running_loop().create_future())

    async def finish_script(self, _sent: InFlightScript, *, again: list[bytes]) -> tuple[Any, bool]:
        """See `CommandExecutor.finish_script`."""
        self.again = again
        return self.reply, self.repeated

    def to_store_error(self, error: BaseException, key: bytes, *, unanswered: bool) -> StoreError:
        """See `CommandExecutor.to_store_error`."""
        return (OutcomeUnknownError if unanswered else StoreTimeoutError)(f"{error} {key.decode()}")


def on(
    commands: Answers, kind: type[RoomStorage] = RoomStorage, cache_bytes: int = StoreSettings().cache_bytes
) -> RoomStorage:
    """Return a path on such commands."""
    settings = StoreSettings(cache_bytes=cache_bytes)

    def decode(room_id: str, data: bytes) -> Room:
        return from_wire(Room, data, key=room_id)

    return kind(cast("CommandExecutor", commands), Keys("", 0), settings, ChangeEvents(settings), decode)


async def commit(path: RoomStorage, before: VersionedRoom[bytes], after: Room | None) -> VersionMismatch[bytes] | None:
    """Commit, and wait for what becomes of it."""
    return await path.finish_commit(path.start_commit(before, after, (), 1.0))


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
async def test_a_creation_that_may_have_been_repeated(reply: Any, *, repeated: bool, inserted: bool | None) -> None:
    """Of a room found instead by a repetition nothing is known: an app may create one room twice, with one token."""
    commands = Answers(reply, repeated=repeated)
    path = on(commands)
    if inserted is None:
        with pytest.raises(OutcomeUnknownError, match=r"others have changed the room since room:A"):
            await path.create(room("A"))
    else:
        assert await path.create(room("A")) is inserted
    before, after, *_ = commands.again
    assert before == after != b""


@pytest.mark.parametrize(
    ("reply", "is_done"), [(1, True), ([0, None], False), (ConnectionResetError(), False), (None, False)]
)
async def test_only_a_reply_that_says_so_is_a_commit(reply: Any, *, is_done: bool) -> None:
    """A commit needs no settling if its reply is "committed"; nor is it counted or remembered before."""
    commands = Answers()
    path = on(commands)
    begun = path.start_commit(STORED, CHANGED, (), 1.0)
    assert begun.sent is not None
    if reply is None:
        begun = PendingCommit(begun.room_id, begun.after, begun.arguments, begun.deadline)
    elif isinstance(reply, Exception):
        begun.sent.reply.set_exception(reply)
    else:
        begun.sent.reply.set_result(reply)
    assert path.try_complete(begun) is is_done
    assert path.cached("A") == (begun.after if is_done else None)
    assert commands.statistics.commits == is_done


async def test_what_was_written_or_found_is_remembered() -> None:
    """A room is remembered as it was stored, read or found, and after its end not at all."""
    commands = Answers()
    path = on(commands)
    assert await path.get("A", 2.0) == path.cached("A") == STORED
    assert await commit(path, STORED, CHANGED) is None
    seen = path.cached("A")
    assert seen is not None
    assert seen.room is CHANGED
    assert seen.version.rstrip() == to_wire(CHANGED)
    assert await commit(path, STORED, None) is None
    assert path.cached("A") is None
    commands.reply = [0, STORED.version]
    assert await commit(path, seen, CHANGED) == VersionMismatch(STORED)
    assert path.cached("A") == STORED
    commands.reply = [0, None]
    assert await commit(path, seen, CHANGED) == VersionMismatch(None)
    assert path.cached("A") is None
    await path.get("A")
    assert await path.delete("A") is True
    assert path.cached("A") is None


@pytest.mark.parametrize(("too_little", "is_remembered"), [(0, True), (1, False)])
async def test_rooms_have_a_quarter_of_the_cache(*, too_little: int, is_remembered: bool) -> None:
    """A room is remembered if its stored bytes are no more than a quarter of `cache_bytes`."""
    path = on(Answers(), cache_bytes=4 * (len(to_wire(CHANGED)) + MARK - too_little))
    await commit(path, STORED, CHANGED)
    assert (path.cached("A") is not None) is is_remembered


async def test_a_commit_that_may_have_been_repeated() -> None:
    """A repetition that finds no room has deleted it; one that finds anything else than it wrote knows nothing."""
    assert await commit(on(Answers([0, None], repeated=True)), STORED, None) is None
    for found in (None, STORED.version):
        with pytest.raises(OutcomeUnknownError):
            await commit(on(Answers([0, found], repeated=True)), STORED, CHANGED)


async def test_two_commits_of_the_same_are_told_apart() -> None:
    """The stored bytes of two commits, or creations, differ, even if they store the same room."""
    commands = Answers()
    path = on(commands)
    stored: list[bytes] = []
    for _ in range(10):
        await commit(path, STORED, CHANGED)
        stored.append(commands.again[1])
        await path.create(CHANGED)
        stored.append(commands.again[1])
    assert len(set(stored)) == 20
    assert {one.rstrip() for one in stored} == {to_wire(CHANGED)}
    assert {len(one) for one in stored} == {len(to_wire(CHANGED)) + MARK}


@pytest.mark.parametrize(("unanswered", "kind"), [(True, OutcomeUnknownError), (False, StoreTimeoutError)])
def test_what_is_late_names_its_room(*, unanswered: bool, kind: type[StoreError]) -> None:
    """A change that is out of time names the room's key, and whether it may have happened."""
    error = on(Answers()).timeout_error("A", unanswered=unanswered)
    assert type(error) is kind
    assert "room:A" in str(error)


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
async def test_an_error_names_the_key(tmp_path: Path, call: Callable[[Store], Awaitable[Any]], key: str) -> None:
    """Where nothing listens, each call says what it was about, and that it did not happen."""
    async with RedisStore.from_url(f"unix://{tmp_path}/nobody.sock") as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await call(store)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert f"(key {key!r})" in str(caught.value)


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
async def test_the_living_are_found_by_counting(rooms: Collection[int], commands: int) -> None:
    """Which rooms of a page live is asked of all at once, and of ever smaller parts only where some live."""
    answers = Answers()
    answers.lives = {b"room:%d" % number for number in rooms}
    living = await on(answers).filter_existing([b"%d" % number for number in range(500)])
    assert sorted(int(entry) for entry in living) == list(rooms)
    assert len(answers.asked) == commands


async def test_no_command_counts_very_many() -> None:
    """A page of many thousand rooms, which SSCAN may return, is asked about in parts that do not hold up the server."""
    answers = Answers()
    answers.lives = {b"room:%d" % number for number in range(3000)}
    assert len(await on(answers).filter_existing([b"%d" % number for number in range(3000)])) == 3000
    assert answers.asked == [1000] * 3


@pytest.mark.parametrize("operation", ["insert", "remove"])
async def test_the_steps_on_a_cluster_share_one_time(operation: str) -> None:
    """Creating or deleting a room on a cluster takes no longer than one operation may, in all of its steps."""
    commands = Answers()
    path = on(commands, ShardedRoomStorage)
    assert await (path.create(room("A")) if operation == "insert" else path.delete("A")) is True
    assert commands.ends == {1.0}
