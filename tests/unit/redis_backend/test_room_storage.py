"""Tests of the room storage: commits, the cache, and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import timedelta
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
    rules,
    to_wire,
)
from wnc_store.base import ChangeEvents, Committed, VersionedRoom, VersionMismatch
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis.keys import Keys
from wnc_store_redis.room_storage import FoundDeleted, IndexPage, RoomStorage
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall
from wnc_store_redis.transport.statistics import Statistics

STORED = VersionedRoom(room("A"), to_wire(room("A")))
CHANGED = room("A", "host", "guest", rev=2)
NONCE_BYTES = 16


class FakeExecutor:
    """An executor with a prepared reply for scripts.

    Attributes:
        reply: the reply to each script.
        is_retry: whether the reply is marked as the reply to a retry.
        keys: the keys of the last script.
        retry_args: the arguments that a retry would use.
        existing: the keys of rooms that exist.
        key_counts: the number of keys of each EXISTS.
    """

    def __init__(self, reply: Any = 1, *, is_retry: bool = False) -> None:
        self.reply, self.is_retry = reply, is_retry
        self.statistics = Statistics()
        self.keys: Sequence[bytes] = ()
        self.retry_args: Sequence[bytes] = ()
        self.existing: Collection[bytes] = ()
        self.key_counts: list[int] = []

    def deadline(self) -> float:
        """See `CommandExecutor.deadline`."""
        return 1.0

    async def read(self, _name: bytes, *_arguments: bytes, decode: Callable[[Any], Any], **_options: Any) -> Any:
        """See `CommandExecutor.read`. The command is GET, and the reply is the room."""
        return decode(STORED.version)

    async def read_many(self, commands: Sequence[Sequence[bytes]]) -> list[int]:
        """See `CommandExecutor.read_many`. The commands are EXISTS."""
        assert {name for name, *_ in commands} == {b"EXISTS"}
        self.key_counts += [len(keys) for _, *keys in commands]
        return [sum(key in self.existing for key in keys) for _, *keys in commands]

    async def run_script(self, *_arguments: Any) -> int:
        """See `CommandExecutor.run_script`."""
        return 1

    async def call_script(self, call: ScriptCall[Any]) -> tuple[Any, bool]:
        """See `CommandExecutor.call_script`."""
        self.keys, self.retry_args = call.keys, call.retry_args or ()
        return call.script.decode(self.reply), self.is_retry

    async def finish_script(self, call: ScriptCall[Any], _first: asyncio.Future[Any]) -> tuple[Any, bool]:
        """See `CommandExecutor.finish_script`."""
        return await self.call_script(call)

    def to_store_error(self, error: BaseException, key: bytes, *, unanswered: bool) -> StoreError:
        """See `CommandExecutor.to_store_error`."""
        return (OutcomeUnknownError if unanswered else StoreTimeoutError)(f"{error} {key.decode()}")


def on(commands: FakeExecutor, cache_bytes: int = StoreSettings().cache_bytes) -> RoomStorage:
    """Return a storage on an executor."""
    settings = StoreSettings(cache_bytes=cache_bytes)
    return RoomStorage(cast("CommandExecutor", commands), Keys("", 0), settings, ChangeEvents(settings))


async def commit(
    storage: RoomStorage, before: VersionedRoom[bytes], after: Room | None
) -> Committed | FoundDeleted | VersionMismatch[bytes]:
    """Commit a room or a deletion, and wait for the outcome."""
    reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return await storage.run_commit(storage.prepare_commit(before, after, (), 1.0), reply)


@pytest.mark.parametrize(
    ("reply", "is_retry", "is_created"),
    [
        (1, False, True),
        (1, True, True),
        ([0, to_wire(CHANGED)], False, False),
        ([0, to_wire(CHANGED)], True, None),
        ([0, None], True, None),
    ],
)
async def test_a_retried_creation(reply: Any, *, is_retry: bool, is_created: bool | None) -> None:
    """If a retry of a creation finds another room, the outcome is unknown: the app may have created the room twice."""
    commands = FakeExecutor(reply, is_retry=is_retry)
    storage = on(commands)
    if is_created is None:
        with pytest.raises(OutcomeUnknownError, match=r"others have changed the room since room:A"):
            await storage.create(room("A"))
    else:
        assert await storage.create(room("A")) is is_created
    before, after, *_ = commands.retry_args
    assert before == after != b""


async def test_rooms_that_are_written_or_read_are_cached() -> None:
    """The cache contains a room as it was last committed, read or found, and no deleted room."""
    commands = FakeExecutor()
    storage = on(commands)
    assert await storage.get("A", 2.0) == storage.cache["A"] == STORED
    assert await commit(storage, STORED, CHANGED) == Committed()
    cached = storage.cache["A"]
    assert cached is not None
    assert cached.room is CHANGED
    assert cached.version.rstrip() == to_wire(CHANGED)
    assert await commit(storage, STORED, None) == Committed()
    assert commands.statistics.commits == 2
    assert storage.cache["A"] is None
    commands.reply = [0, STORED.version]
    assert await commit(storage, cached, CHANGED) == VersionMismatch(STORED)
    assert storage.cache["A"] == STORED
    commands.reply = [0, None]
    assert await commit(storage, cached, CHANGED) == VersionMismatch(None)
    assert storage.cache["A"] is None
    await storage.get("A", 2.0)
    assert await storage.delete("A") is True
    assert storage.cache["A"] is None


@pytest.mark.parametrize(("missing_bytes", "is_cached"), [(0, True), (1, False)])
async def test_rooms_use_a_quarter_of_the_cache(*, missing_bytes: int, is_cached: bool) -> None:
    """A room is cached if its stored bytes are at most a quarter of `cache_bytes`."""
    storage = on(FakeExecutor(), cache_bytes=4 * (len(to_wire(CHANGED)) + NONCE_BYTES - missing_bytes))
    await commit(storage, STORED, CHANGED)
    assert (storage.cache["A"] is not None) is is_cached


async def test_a_retried_commit() -> None:
    """A retried deletion that finds no room may have been made by another client; other mismatches are unknown."""
    assert await commit(on(FakeExecutor([0, None], is_retry=True)), STORED, None) == FoundDeleted()
    for current in (None, STORED.version):
        with pytest.raises(OutcomeUnknownError):
            await commit(on(FakeExecutor([0, current], is_retry=True)), STORED, CHANGED)


async def test_commits_of_equal_rooms_store_different_bytes() -> None:
    """The stored bytes of two commits or creations differ, even if they store equal rooms."""
    commands = FakeExecutor()
    storage = on(commands)
    stored: list[bytes] = []
    for _ in range(10):
        await commit(storage, STORED, CHANGED)
        stored.append(commands.retry_args[1])
        await storage.create(CHANGED)
        stored.append(commands.retry_args[1])
    assert len(set(stored)) == 20
    assert {data.rstrip() for data in stored} == {to_wire(CHANGED)}
    assert {len(data) for data in stored} == {len(to_wire(CHANGED)) + NONCE_BYTES}


@pytest.mark.parametrize(("unanswered", "kind"), [(True, OutcomeUnknownError), (False, StoreTimeoutError)])
def test_a_time_out_names_the_room(*, unanswered: bool, kind: type[StoreError]) -> None:
    """The error for a missed deadline names the room's key, and its type shows whether the update may have happened."""
    error = on(FakeExecutor()).timeout_error("A", unanswered=unanswered)
    assert type(error) is kind
    assert "room:A" in str(error)


CALLS: dict[str, tuple[Callable[[Store], Awaitable[Any]], str]] = {
    "create": (lambda store: store.rooms.create_room(room("A")), "room:A"),
    "get": (lambda store: store.rooms.get_room("A"), "room:A"),
    "ttl": (lambda store: store.rooms.room_ttl("A"), "room:A"),
    "join": (lambda store: store.rooms.add_user_to_room("A", user("guest")), "room:A"),
    "delete": (lambda store: store.rooms.delete_room("A"), "room:A"),
    "add a message": (lambda store: store.chat.add_message(message(1, "A")), "chat:A"),
    "get messages": (lambda store: store.chat.get_messages("A"), "chat:A"),
    "clear": (lambda store: store.chat.clear_messages("A"), "chat:A"),
    "chat ttl": (lambda store: store.chat.chat_ttl("A"), "chat:A"),
    "sweep": (lambda store: store.rooms.sweep_active_rooms(), "active-rooms"),
}


@pytest.mark.parametrize(("call", "key"), CALLS.values(), ids=CALLS)
async def test_an_error_names_the_key(tmp_path: Path, call: Callable[[Store], Awaitable[Any]], key: str) -> None:
    """Without a server each call raises a StoreUnavailableError that names its key."""
    async with RedisStore.from_url(f"unix://{tmp_path}/nobody.sock") as store:
        with pytest.raises(StoreUnavailableError) as caught:
            await call(store)
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert f"(key {key!r})" in str(caught.value)


@pytest.mark.parametrize(
    ("rooms", "count"),
    [
        (range(500), 1),
        (range(0), 1),
        ([7], 1 + 16 + 16 + 2),
        (range(0, 500, 100), 1 + 16 + 5 * 16 + 5 * 2),
        (range(499), 1 + 16 + 10 + 2),
    ],
)
async def test_existing_rooms_are_found_by_counting(rooms: Collection[int], count: int) -> None:
    """EXISTS counts all rooms of a page at once, and parts of it only if some of their rooms exist."""
    commands = FakeExecutor()
    commands.existing = {b"room:%d" % number for number in rooms}
    existing = await on(commands).filter_existing([IndexPage(b"", [b"%d" % number for number in range(500)])])
    assert sorted(int(entry) for entry in existing) == list(rooms)
    assert len(commands.key_counts) == count


async def test_one_exists_has_a_limited_number_of_keys() -> None:
    """A page of thousands of rooms, which SSCAN may return, is split, so that no command blocks the server for long."""
    commands = FakeExecutor()
    commands.existing = {b"room:%d" % number for number in range(3000)}
    page = IndexPage(b"", [b"%d" % number for number in range(3000)])
    assert len(await on(commands).filter_existing([page])) == 3000
    assert commands.key_counts == [1000] * 3


async def test_only_operations_that_use_the_chat_name_its_key() -> None:
    """Creations and deletions name the keys of the room and its chat; an update does not name the chat."""
    commands = FakeExecutor()
    storage = on(commands)
    await storage.create(room("A"))
    assert commands.keys == [b"room:A", b"active-rooms", b"chat:A"]
    await commit(storage, STORED, CHANGED)
    assert commands.keys == [b"room:A", b"active-rooms"]
    await commit(storage, STORED, None)
    assert commands.keys == [b"room:A", b"active-rooms", b"chat:A"]


@pytest.mark.parametrize("publishes", [False, True])
async def test_only_the_start_and_the_end_of_a_wait_set_the_ttl_of_the_chat(*, publishes: bool) -> None:
    """A commit that starts, renews or ends the wait of an empty room names the chat and its TTL."""
    settings = StoreSettings(empty_room_ttl=timedelta(minutes=5), publish_changes=publishes)
    commands = FakeExecutor()
    events = ChangeEvents(settings)
    storage = RoomStorage(cast("CommandExecutor", commands), Keys("", 0), settings, events)
    waiting = rules.leave(room("A"), "host", keep_empty=True)
    joined = rules.join(cast("Room", waiting), user("guest"))
    found: list[tuple[int, bytes, bytes]] = []
    entered = room("A").with_extra({"isWaiting": True})  # another client has added a user
    for before, after in (
        *((room("A"), waiting), (waiting, waiting), (waiting, joined), (joined, joined)),
        *((entered, room("A")), (room("A").with_extra({"avatar": "cat"}), room("A"))),
    ):
        stored = VersionedRoom(cast("Room", before), to_wire(cast("Room", before)))
        prepared = storage.prepare_commit(stored, after, events.for_commit(before, after), 1.0)
        found.append((len(prepared.keys), prepared.arguments[2], prepared.arguments[5]))
    day, wait = b"86400000", b"300000"
    assert found == [(3, wait, wait), (3, wait, wait), (3, day, day), (2, day, b""), (3, day, day), (2, day, b"")]
    created = room("A", users=()).with_extra({"isWaiting": True})
    await storage.create(created)
    assert commands.keys == [b"room:A", b"active-rooms", b"chat:A"]
    assert commands.retry_args[2] == day
