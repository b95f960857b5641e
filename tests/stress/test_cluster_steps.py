"""Every interleaving of the steps of room updates on a cluster: the real code on a model of the servers."""

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

OLD = b"a message of the previous room"
NEW = b"a message to the new room"


@dataclass
class Servers:
    """A room, its chat, the index, and the result of each operation."""

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
    """The `CommandExecutor` of one operation. Each command is one step."""

    def __init__(self, servers: Servers, number: int) -> None:
        self._servers = servers
        self.statistics = Statistics()
        self._answers = servers.answers.setdefault(number, [])

    def deadline(self) -> float:
        """Return infinity."""
        return float("inf")

    async def read(self, name: bytes, *_: bytes, deadline: float | None = None) -> Any:  # noqa: ARG002
        """Run EXISTS of the room or LRANGE of the chat."""
        await Step()
        servers = self._servers
        return self._answer(int(servers.room is not None) if name == b"EXISTS" else tuple(servers.chat))

    async def read_many(self, commands: Sequence[tuple[bytes, ...]]) -> list[Any]:
        """Run each command separately."""
        return [await self.read(*command) for command in commands]

    async def write_idempotent(self, commands: Sequence[tuple[bytes, ...]], _deadline: float) -> list[Any]:
        """Run SADD, SREM or LREM."""
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

    def start_script(self, script: Script, keys: Sequence[bytes], *arguments: bytes, **_: Any) -> Any:
        """Do nothing yet."""
        assert (script, len(keys)) == (COMMIT, 1)
        return arguments

    async def finish_script(self, sent: Any, **_: Any) -> tuple[Any, bool]:
        """Run COMMIT."""
        await Step()
        stored = self._servers.room
        if (stored or b"") != sent[0]:
            return self._answer((0, stored)), False
        self._servers.room = sent[1] or None
        return self._answer(1), False

    async def run_script(self, script: Script, keys: Sequence[bytes], *_: bytes, deadline: float) -> int:  # noqa: ARG002
        """Run REMOVE."""
        assert (script, len(keys)) == (REMOVE, 1)
        await Step()
        removed, self._servers.room = self._servers.room is not None, None
        return self._answer(int(removed))

    def _answer(self, answer: Any) -> Any:
        self._answers.append(answer)
        return answer


class InOrder(ShardedRoomStorage):
    """The storage, with all background work run inside the operation."""

    has_listed: bool

    async def _whole(self, work: Coroutine[None, None, bool]) -> bool:
        return await work

    async def _tidy(self, work: Coroutine[None, None, None]) -> None:
        await work

    def _list_now_and_then(self, room_id: str) -> None:
        """Do nothing. The checked properties hold without it."""


def path(servers: Servers, number: int) -> InOrder:
    """Return the storage of an operation."""
    commands: Any = FakeCommands(servers, number)
    settings = StoreSettings()
    return InOrder(
        commands, Keys("", 0), settings, ChangeEvents(settings), lambda _, data: from_wire(Room, data, key="")
    )


def create(servers: Servers, number: int) -> Operation:
    """Create the room, with a different host for each creator."""
    return path(servers, number).create(room("A", host_token=f"token {number}"))


def delete(servers: Servers, number: int) -> Operation:
    """Delete the room in any state."""
    return path(servers, number).delete("A")


def leave(servers: Servers, number: int) -> Operation:
    """Commit the deletion of the initial room."""
    first = room("A")
    commits = path(servers, number)
    return commits.finish_commit(commits.start_commit(VersionedRoom(first, to_wire(first)), None, (), float("inf")))


def sweep(servers: Servers, number: int) -> Operation:
    """Sweep the index entry of the room."""
    return path(servers, number).prune_index([b"A"])


async def expire(servers: Servers, number: int) -> None:
    """Expire the room."""
    await Step()
    servers.room = None
    servers.answers[number] = ["expired"]


async def post(servers: Servers, number: int) -> None:
    """Add a message if the room exists."""
    await Step()
    servers.answers[number] = ["looked", servers.room is not None]
    if servers.room is not None:
        await Step()
        servers.chat.append(NEW)
        servers.posted = True
        servers.answers[number] += ["posted"]


@pytest.fixture(autouse=True)
def _unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Omit the nonces, so that the same commit stores the same bytes in each order."""
    monkeypatch.setattr("wnc_store_redis.codec.os.urandom", bytes)


Make = Callable[[Servers, int], Operation]


def begin(
    makes: Sequence[Make], *, lives: bool, chat: Sequence[bytes] = (), crashes: Sequence[int] = ()
) -> Callable[[], Interleaving[Servers]]:
    """Return a function that begins operations on a listed room or without a room."""

    def fresh() -> Interleaving[Servers]:
        servers = Servers(to_wire(room("A")) if lives else None, lives, list(chat))
        return Interleaving(servers, [partial(make, servers, number) for number, make in enumerate(makes)], crashes)

    return fresh


def live_is_listed(world: Servers, _dead: Sequence[int]) -> None:
    """Check that an existing room is listed."""
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
def test_an_existing_room_is_listed(makes: Sequence[Make], *, lives: bool) -> None:
    """In every order of the steps, a room that exists after all operations is listed."""
    assert interleave(begin(makes, lives=lives), live_is_listed) > 20


def test_a_crashed_creator_leaves_no_unlisted_room() -> None:
    """A creator that crashes between two steps leaves no room or a listed one."""
    assert interleave(begin((create,), lives=False, crashes=[0]), live_is_listed) > 5


@pytest.mark.parametrize("makes", [(delete, create), (delete, sweep, create), (create, sweep), (create, delete)])
def test_the_next_update_lists_an_unlisted_room(makes: Sequence[Make]) -> None:
    """A crash between a sweep and a concurrent create can leave the room unlisted, and the next update lists it."""
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
def test_a_new_room_has_an_empty_chat(others: Sequence[Make]) -> None:
    """A created room contains exactly the messages that were added to it."""

    def check(world: Servers, dead: Sequence[int]) -> None:
        if world.room is not None:
            assert OLD not in world.chat
            assert (NEW in world.chat) == world.posted, dead

    interleave(begin((create, post, *others), lives=False, chat=[OLD]), check)


@pytest.mark.parametrize("ends", [delete, leave])
def test_a_deletion_keeps_the_next_rooms_messages(ends: Make) -> None:
    """Messages to a room that is created during the deletion of its predecessor stay."""

    async def create_and_post(servers: Servers, number: int) -> None:
        if await path(servers, number).create(room("A", host_token="next")):
            await Step()
            servers.chat.append(NEW)
            servers.posted = True

    def check(world: Servers, _dead: Sequence[int]) -> None:
        assert OLD not in world.chat or world.room == to_wire(room("A"))
        assert (NEW in world.chat) == world.posted

    interleave(begin((ends, create_and_post), lives=True, chat=[OLD]), check)


@pytest.mark.parametrize("mutant", ["no second listing", "no check after unlisting", "one listing, after the room"])
def test_other_orders_leave_rooms_unlisted(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of these steps, some interleaving leaves a room unlisted, which shows that the search works."""
    list_once = InOrder._list

    async def sometimes(self: InOrder, room_id: str, deadline: float) -> None:
        is_first = not hasattr(self, "has_listed")
        self.has_listed = True
        if is_first == (mutant == "no second listing"):
            await list_once(self, room_id, deadline)

    async def blindly(_self: InOrder, _room_id: object, _deadline: float) -> bool:
        return False

    if mutant == "no check after unlisting":
        monkeypatch.setattr(InOrder, "_is_live", blindly)
    else:
        monkeypatch.setattr(InOrder, "_list", sometimes)
    makes: Sequence[Make] = (create,) if mutant == "one listing, after the room" else (create, sweep, delete)
    crashes = [0] if mutant == "one listing, after the room" else []
    with pytest.raises(AssertionError):
        interleave(begin(makes, lives=False, crashes=crashes), live_is_listed)
