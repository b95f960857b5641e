"""Every interleaving of the steps in which rooms change on a cluster: the code itself, on a model of the servers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from schedules import Interleaving, Operation, Step, interleave
from wnc_store import Room, StoreSettings, from_wire, to_wire
from wnc_store.base import ChangeEvents, VersionedRoom
from wnc_store_contract.factories import room
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import COMMIT, REMOVE, Script
from wnc_store_redis.sharded import ShardedRoomStorage
from wnc_store_redis.transport.statistics import Statistics

OLD = b"a message of the room before"
NEW = b"a message to the room that lives"


@dataclass
class Servers:
    """A room, its chat and the index, and what each operation was answered."""

    room: bytes | None = None
    listed: bool = False
    chat: list[bytes] = field(default_factory=list[bytes])
    posted: bool = False
    answers: dict[int, list[Hashable]] = field(default_factory=dict[int, list[Hashable]])

    def state(self) -> Hashable:
        """See `World.state`."""
        answers = tuple(tuple(self.answers.get(number, [])) for number in range(8))
        return (self.room, self.listed, tuple(self.chat), self.posted, answers)


class FakeCommands:
    """The `CommandExecutor` of one operation; each command is one step."""

    def __init__(self, servers: Servers, number: int) -> None:
        self._servers = servers
        self.counts = Statistics()
        self._answers = servers.answers.setdefault(number, [])

    def deadline(self) -> float:
        """Never."""
        return float("inf")

    async def read(self, name: bytes, *_: bytes, deadline: float | None = None) -> Any:  # noqa: ARG002
        """EXISTS of the room, LRANGE of the chat."""
        await Step()
        servers = self._servers
        return self._answer(int(servers.room is not None) if name == b"EXISTS" else tuple(servers.chat))

    async def read_many(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """Each by itself."""
        return [await self.read(*command) for command in commands]

    async def mend(self, commands: Sequence[tuple[bytes, ...]], _deadline: float) -> list[Any]:
        """SADD, SREM, LREM."""
        replies: list[Any] = []
        for name, *arguments in commands:
            await Step()
            servers, was_listed = self._servers, self._servers.listed
            if name == b"LREM":
                if arguments[2] in servers.chat:
                    servers.chat.remove(arguments[2])
            else:
                servers.listed = name == b"SADD"
            replies.append(self._answer(int(was_listed)))
        return replies

    def send(self, script: Script, keys: Sequence[bytes], *arguments: bytes, **_: Any) -> Any:
        """Nothing yet."""
        assert (script, len(keys)) == (COMMIT, 1)
        return arguments

    async def settle(self, sent: Any, **_: Any) -> tuple[Any, bool]:
        """COMMIT."""
        await Step()
        stored = self._servers.room
        if (stored or b"") != sent[0]:
            return self._answer((0, stored)), False
        self._servers.room = sent[1] or None
        return self._answer(1), False

    async def run(self, script: Script, keys: Sequence[bytes], *_: bytes, deadline: float) -> int:  # noqa: ARG002
        """REMOVE."""
        assert (script, len(keys)) == (REMOVE, 1)
        await Step()
        removed, self._servers.room = self._servers.room is not None, None
        return self._answer(int(removed))

    def _answer(self, answer: Any) -> Any:
        self._answers.append(answer)
        return answer


class InOrder(ShardedRoomStorage):
    """The path, all of which is a part of the operation."""

    has_listed: bool

    async def _whole(self, work: Coroutine[None, None, bool]) -> bool:
        return await work

    async def _tidy(self, work: Coroutine[None, None, None]) -> None:
        await work

    def _list_now_and_then(self, room_id: str) -> None:
        """Not here: what is to be shown is right without it."""


def path(servers: Servers, number: int) -> InOrder:
    """Return the path of an operation."""
    commands: Any = FakeCommands(servers, number)
    settings = StoreSettings()
    return InOrder(
        commands, Keys("", 0), settings, ChangeEvents(settings), lambda _, data: from_wire(Room, data, key="")
    )


def create(servers: Servers, number: int) -> Operation:
    """Create the room; each creator's is another."""
    return path(servers, number).create(room("A", host_token=f"token {number}"))


def delete(servers: Servers, number: int) -> Operation:
    """Delete the room, whatever it is."""
    return path(servers, number).delete("A")


def leave(servers: Servers, number: int) -> Operation:
    """Commit the end of the room as it was at first."""
    first = room("A")
    commits = path(servers, number)
    return commits.finish_commit(commits.start_commit(VersionedRoom(first, to_wire(first)), None, (), float("inf")))


def sweep(servers: Servers, number: int) -> Operation:
    """Sweep the room's entry."""
    return path(servers, number).prune_index([b"A"])


async def expire(servers: Servers, number: int) -> None:
    """End the room's TTL."""
    await Step()
    servers.room = None
    servers.answers[number] = ["expired"]


async def post(servers: Servers, number: int) -> None:
    """Post a message, if there is a room."""
    await Step()
    servers.answers[number] = ["looked", servers.room is not None]
    if servers.room is not None:
        await Step()
        servers.chat.append(NEW)
        servers.posted = True
        servers.answers[number] += ["posted"]


@pytest.fixture(autouse=True)
def _unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the same commit store the same bytes each time it is tried in another order."""
    monkeypatch.setattr("wnc_store_redis.codec.os.urandom", bytes)


Make = Callable[[Servers, int], Operation]


def begin(
    makes: Sequence[Make], *, lives: bool, chat: Sequence[bytes] = (), crashes: Sequence[int] = ()
) -> Callable[[], Interleaving[Servers]]:
    """Return what begins operations on a room that lives and is listed, or on none."""

    def fresh() -> Interleaving[Servers]:
        servers = Servers(to_wire(room("A")) if lives else None, lives, list(chat))
        return Interleaving(servers, [partial(make, servers, number) for number, make in enumerate(makes)], crashes)

    return fresh


def live_is_listed(world: Servers, _dead: Sequence[int]) -> None:
    """Check that a room that lives is listed."""
    assert world.room is None or world.listed


SETS: list[tuple[Make, ...]] = [
    (create, create, sweep),
    (create, delete, sweep),
    (create, delete, delete),
    (create, leave, delete),
    (create, sweep, sweep, expire),
    (create, delete, expire),
    (create, leave, sweep, expire),
    (create, delete, sweep, sweep),
]


@pytest.mark.parametrize("lives", [False, True], ids=["no room at first", "a room at first"])
@pytest.mark.parametrize("makes", SETS, ids=lambda makes: "+".join(make.__name__ for make in makes))
def test_a_live_room_is_listed_in_the_end(makes: Sequence[Make], *, lives: bool) -> None:
    """Whatever the order of the steps, a room that lives when all operations have ended is listed."""
    assert interleave(begin(makes, lives=lives), live_is_listed) > 20


def test_the_death_of_a_creator_leaves_no_room_unlisted() -> None:
    """A creator who dies between any two steps leaves no room, or one that is listed."""
    assert interleave(begin((create,), lives=False, crashes=[0]), live_is_listed) > 5


@pytest.mark.parametrize("makes", [(delete, create), (delete, sweep, create), (create, sweep), (create, delete)])
def test_a_death_while_a_room_is_unlisted_is_mended_by_the_next_change(makes: Sequence[Make]) -> None:
    """Who dies while a room is unlisted and created at once may leave it unlisted, and the next change lists it."""
    unlisted: list[Sequence[int]] = []

    def check(world: Servers, dead: Sequence[int]) -> None:
        if world.room is not None and not world.listed:
            unlisted.append(dead)
            again = path(world, 7)._list("A", float("inf"))
            again.send(None)
            with pytest.raises(StopIteration):
                again.send(None)
            assert world.listed

    interleave(begin(makes, lives=True, crashes=[0]), check)
    interleave(begin(makes, lives=False, crashes=[0]), check)
    assert unlisted
    assert all(dead == [0] for dead in unlisted)


@pytest.mark.parametrize("others", [(), (create,), (sweep,)])
def test_a_room_begins_without_the_chat_of_the_one_before(others: Sequence[Make]) -> None:
    """A room that was created has none of the messages that were there before, and all that were posted to it."""

    def check(world: Servers, dead: Sequence[int]) -> None:
        if world.room is not None:
            assert OLD not in world.chat
            assert (NEW in world.chat) == world.posted, dead

    interleave(begin((create, post, *others), lives=False, chat=[OLD]), check)


@pytest.mark.parametrize("ends", [delete, leave])
def test_a_deletion_takes_no_message_of_the_room_that_comes_next(ends: Make) -> None:
    """What is posted to a room that is created while its forerunner is deleted stays."""

    async def create_and_post(servers: Servers, number: int) -> None:
        if await path(servers, number).create(room("A", host_token="next")):
            await Step()
            servers.chat.append(NEW)
            servers.posted = True

    def check(world: Servers, _dead: Sequence[int]) -> None:
        assert OLD not in world.chat or world.room == to_wire(room("A"))
        assert (NEW in world.chat) == world.posted

    interleave(begin((ends, create_and_post), lives=True, chat=[OLD]), check)


@pytest.mark.parametrize("mutant", ["no second listing", "no look after unlisting", "one listing, after the room"])
def test_other_orders_would_leave_rooms_unlisted(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of these steps, some interleaving leaves a live room unlisted: so the search does find them."""
    list_once = InOrder._list

    async def sometimes(self: InOrder, room_id: str, deadline: float) -> None:
        is_first = not hasattr(self, "has_listed")
        self.has_listed = True
        if is_first == (mistake == "no second listing"):
            await list_once(self, room_id, deadline)

    async def blindly(_self: InOrder, _room_id: object, _deadline: float) -> bool:
        return False

    if mistake == "no look after unlisting":
        monkeypatch.setattr(InOrder, "_is_live", blindly)
    else:
        monkeypatch.setattr(InOrder, "_list", sometimes)
    makes: Sequence[Make] = (create,) if mistake == "one listing, after the room" else (create, sweep, delete)
    crashes = [0] if mistake == "one listing, after the room" else []
    with pytest.raises(AssertionError):
        interleave(begin(makes, lives=False, crashes=crashes), live_is_listed)
