"""Every order in which two or three operations can meet, at every tick of the event loop, with every single fault.

The stores and their Lua scripts are real. Connections, server and clocks are controlled step by step
(`tests/helpers/interleavings`). After each run, an order of the operations that agrees with real time must explain the
callers' results and the stored data.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import pytest

from interleavings.judge import Found, explore
from interleavings.operations import (
    ROOM,
    Operation,
    State,
    clear,
    correct,
    create,
    delete,
    edit,
    join,
    leave,
    look,
    read_chat,
    remove,
    say,
    set_video,
    transfer,
)
from interleavings.process import open_fake_link
from interleavings.world import Plan
from wnc_store.base import PendingUpdate, VersionMismatch
from wnc_store_contract.factories import message, room
from wnc_store_redis import group_commit
from wnc_store_redis.room_storage import Commit, RoomStorage
from wnc_store_redis.rooms import RedisRoomStore
from wnc_store_redis.script_results import COMMITTED
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall

pytestmark = pytest.mark.timeout(1200)

CHAT = (message(0, ROOM),)
STATES = {
    "three users": State(room(ROOM, "host", "ann", "bob", rev=3), CHAT),
    "one user": State(room(ROOM, "host", rev=3), CHAT),
    "no room": State(None, CHAT),
}
OPERATIONS = {
    "three users": (
        join("u1"),
        leave("host"),
        leave("ann"),
        transfer("bob"),
        edit("a"),
        set_video("https://video.example/1"),
        delete(),
        create(),
        say(1),
        clear(),
        look(),
        read_chat(),
    ),
    "one user": (leave("host"), join("u1"), transfer("host"), edit("a"), delete(), create(), say(1), look()),
    "no room": (create(), create("other"), delete(), join("u1"), leave("host"), say(1), look()),
}
COMMITS = {one.name for one in (leave("ann"), transfer("bob"), edit("a"), set_video("https://video.example/1"))}
"""Operations that differ from a join only by their rule and are committed in the same way."""

ONE_KIND = (
    (join("u1"), join("u2")),
    (transfer("bob"), transfer("ann")),
    (edit("a"), edit("b")),
    (set_video("https://video.example/1"), set_video("https://video.example/2")),
    (say(1), say(2)),
)
WITH_FAULTS = (
    ("three users", join("u1"), leave("host")),
    ("three users", delete(), create()),
    ("one user", leave("host"), join("u1")),
    ("three users", join("u1"), join("u2")),
    ("three users", transfer("bob"), leave("bob")),
    ("three users", edit("a"), set_video("https://video.example/1")),
    ("three users", delete(), join("u1")),
    ("three users", say(1), say(1)),
    ("three users", say(1), delete()),
    ("three users", clear(), say(1)),
    ("one user", leave("host"), create()),
    ("no room", create(), create("other")),
    ("no room", create(), join("u1")),
    ("no room", create(), delete()),
)
TRIPLES = (
    (join("u1"), leave("host"), transfer("bob")),
    (leave("host"), leave("ann"), leave("bob")),
    (edit("a"), set_video("https://video.example/1"), join("u1")),
)


@pytest.fixture(autouse=True)
def fake_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connect every store to the world of its run, and prevent slow machines from splitting a batch."""
    monkeypatch.setattr(multiplexer, "open_connection", open_fake_link)
    monkeypatch.setattr(group_commit, "_MAX_APPLY_SECONDS", math.inf)


def plans(
    state: str, operations: Sequence[Operation], processes: Sequence[int], caches: Sequence[str], faults: int = 0
) -> list[Plan]:
    """Return a plan for each cache."""
    asked = list(zip(operations, processes, strict=True))
    return [Plan(STATES[state], asked, cache, faults) for cache in caches]


def pairs(state: str) -> list[tuple[Operation, Operation]]:
    """Return the pairs of operations for an initial state."""
    more = ONE_KIND if state == "three users" else ()
    return [*combinations_with_replacement(OPERATIONS[state], 2), *more]


def check(tried: Sequence[Plan], at_least: int) -> None:
    """Explore plans, and check the number of runs and that none violates a guarantee."""
    found = [explore(plan) for plan in tried]
    problems = [problem for one in found for problem in one.problems]
    assert not problems, f"{len(problems)} of {len(tried)} plans: {problems[0]}"
    assert sum(one.runs for one in found) >= at_least


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_schedule_is_run(processes: int) -> None:
    """Processes that send one command each have as many runs as there are orders of their starts and replies."""
    plan = Plan(STATES["three users"], [(say(number + 1), number) for number in range(processes)])
    found = explore(plan)
    assert found == Found(math.factorial(2 * processes) // 2**processes, [])


@pytest.mark.parametrize(
    ("state", "processes", "caches", "at_least"),
    [
        ("three users", (0, 0), ["warm"], 1900),
        ("one user", (0, 0), ["warm"], 900),
        ("no room", (0, 0), ["warm"], 700),
        ("three users", (0, 1), ["warm", "stale"], 1300),
        ("one user", (0, 1), ["warm", "stale"], 600),
        ("no room", (0, 1), ["warm"], 160),
    ],
)
def test_pairs(state: str, processes: Sequence[int], caches: Sequence[str], at_least: int) -> None:
    """Two operations happen in some order, whenever the second begins, even with a stale cache."""
    check([plan for pair in pairs(state) for plan in plans(state, pair, processes, caches)], at_least)


@pytest.mark.parametrize(("processes", "at_least"), [((0, 0, 0), 1000), ((0, 0, 1), 700), ((0, 1, 2), 800)])
def test_triples(processes: Sequence[int], at_least: int) -> None:
    """Three operations of one, two or three processes happen in some order."""
    check([plan for triple in TRIPLES for plan in plans("three users", triple, processes, ["warm"])], at_least)


@pytest.mark.parametrize(
    ("state", "operation", "cache"),
    [
        ("three users", join("u1"), "cold"),
        ("three users", join("u1"), "warm"),
        ("three users", delete(), "warm"),
        ("three users", say(1), "warm"),
        ("one user", leave("host"), "warm"),
        ("no room", create(), "warm"),
    ],
    ids=lambda one: getattr(one, "name", one),
)
def test_an_operation_with_two_faults(state: str, operation: Operation, cache: str) -> None:
    """The outcome of an operation is correct with any two losses, refusals, cancellations or silences."""
    check(plans(state, [operation], [0], [cache], 2), 200)


@pytest.mark.parametrize("pair", WITH_FAULTS, ids=lambda pair: "+".join(one.name for one in pair[1:]))
def test_pairs_of_two_processes_with_a_fault(pair: tuple[str, Operation, Operation]) -> None:
    """Outcomes are correct wherever a connection is lost, a caller is cancelled or the server is silent."""
    state, *operations = pair
    check(plans(state, operations, (0, 1), ["warm"], 1), 250)


@pytest.mark.parametrize("pair", WITH_FAULTS[4:6], ids=lambda pair: "+".join(one.name for one in pair[1:]))
def test_pairs_of_one_process_with_a_fault(pair: tuple[str, Operation, Operation]) -> None:
    """Two updates with different rules, perhaps in one commit, succeed or fail independently."""
    state, *operations = pair
    check(plans(state, operations, (0, 0), ["warm"], 1), 950)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("state", "first"),
    [
        pytest.param(state, first, id=f"{state}-{first.name}")
        for state, some in OPERATIONS.items()
        for first in some
        if first.name not in COMMITS and state != "three users"  # WITH_FAULTS has pairs of that state
    ],
)
def test_all_pairs_with_a_fault(state: str, first: Operation) -> None:
    """Every pair of operations on a small room, with a join for all updates, is correct with every fault."""
    mine = [
        pair for pair in pairs(state) if pair[0].name == first.name and COMMITS.isdisjoint(one.name for one in pair)
    ]
    check([plan for pair in mine for plan in plans(state, pair, (0, 1), ["stale"], 1)], 150 * len(mine))


LOST_MESSAGES = ((say(1), clear(), say(0)), (say(1), say(2), say(3)))


@pytest.mark.exhaustive
@pytest.mark.parametrize("operations", LOST_MESSAGES, ids=lambda some: "+".join(one.name for one in some))
def test_a_removed_message_with_a_fault(operations: Sequence[Operation]) -> None:
    """A message that is cleared, deleted or evicted while its reply is lost is never added again."""
    check(plans("three users", operations, (0, 1, 1), ["warm"], 1), 1000)


@pytest.mark.exhaustive
def test_a_batch_that_ends_in_a_deletion_with_a_fault() -> None:
    """An update in one batch with the last leave has a correct outcome with every single fault."""
    check(plans("one user", (edit("a"), leave("host"), delete()), (0, 0, 1), ["warm"], 1), 10_000)


def test_a_batch_of_a_join_and_all_leaves() -> None:
    """Updates in one batch that empties the room have correct outcomes in every order."""
    check(plans("one user", (join("u1"), leave("host"), leave("u1")), (0, 0, 0), ["warm"]), 50)


def test_equal_updates_of_two_processes_both_count() -> None:
    """An update whose first attempt was lost is not confused with an equal update of another process."""
    equal = [(operation, operation) for operation in (edit("a"), join("u1"), transfer("bob"))]
    check([plan for pair in equal for plan in plans("three users", pair, (0, 1), ["warm"], 1)], 900)


MESSAGE_CHANGES = (
    (correct(0), correct(0)),
    (correct(0), remove(0)),
    (remove(0), remove(0)),
    (correct(0), say(1)),
    (remove(0), say(1)),
    (correct(0), say(0)),
    (remove(0), say(0)),
    (say(1), remove(1)),
    (say(1), correct(1)),
    (correct(0), clear()),
    (remove(0), clear()),
    (correct(0), delete()),
    (remove(0), read_chat()),
)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("processes", "faults"), [((0, 0), 0), ((0, 1), 0), ((0, 1), 1)], ids=["one", "two", "two with a fault"]
)
@pytest.mark.parametrize("pair", MESSAGE_CHANGES, ids=lambda pair: "+".join(one.name for one in pair))
def test_changes_of_messages(pair: tuple[Operation, Operation], processes: tuple[int, int], faults: int) -> None:
    """Edits and removals of messages are each applied once or reported correctly, with every single fault."""
    check(plans("three users", pair, processes, ["warm"], faults), 150 if faults else 5)


async def _trusted(path: RoomStorage, room_id: str, deadline: float) -> Any:
    """Return the cached state without asking the server."""
    return path.cache[room_id] or await _LOAD(path, room_id, deadline)


async def _remembered(rooms: RedisRoomStore, room_id: str) -> Any:
    """Return the cached room without asking the server."""
    stored = rooms._storage.cache[room_id]
    return await _READ(rooms, room_id) if stored is None else stored.room


async def _forced(path: RoomStorage, commit: Commit, reply: asyncio.Future[Any]) -> Any:
    """Commit again on top of the state that was found."""
    result = await _COMMITTED(path, commit, reply)
    while isinstance(result, VersionMismatch) and result.current is not None:
        commit = path.prepare_commit(result.current, commit.after and commit.after.room, (), commit.deadline)
        reply = asyncio.get_running_loop().create_future()
        path._commands.send_script(commit, reply)
        result = await _COMMITTED(path, commit, reply)
    return result


async def _believed(commands: CommandExecutor, call: ScriptCall[Any], first: asyncio.Future[Any]) -> Any:
    """Take the reply to a retry for the reply to the first attempt."""
    result, repeated = await _SETTLED(commands, call, first)
    return (COMMITTED if repeated else result), repeated


def _hasty(change: Any, room: Any) -> Any:
    """Resolve the caller's future before the commit."""
    after = _APPLY(change, room)
    change.resolve()
    return after


def _stubborn(batch: Any, *arguments: Any) -> Any:
    """Keep the updates of cancelled callers."""
    for update in batch._updates:
        if update.future.cancelled():
            update.future = asyncio.get_running_loop().create_future()
    return _APPLY_BATCH(batch, *arguments)


def _shifted(multiplexer: Any, replies: Sequence[Any]) -> None:
    """Drop the in-flight entry of a cancelled caller, so that replies are shifted."""
    for request in [one for one in multiplexer._in_flight if one[0].done()][: len(multiplexer._in_flight) - 1]:
        multiplexer._in_flight.remove(request)
    _ANSWERED(multiplexer, replies)


def _sure(commands: CommandExecutor, error: BaseException, key: bytes, **_options: Any) -> Any:
    """Report a write without a reply as not applied."""
    return _FAILURE(commands, error, key)


def _silent(multiplexer: Any, _error: BaseException) -> None:
    """Forget the waiting callers of a lost connection."""
    multiplexer._in_flight.clear()
    multiplexer._in_flight_bytes = 0


_LOAD, _COMMITTED, _SETTLED, _FAILURE = (
    RoomStorage.get,
    RoomStorage.run_commit,
    CommandExecutor.finish_script,
    CommandExecutor.to_store_error,
)
_APPLY, _APPLY_BATCH = PendingUpdate.apply, group_commit._Batch._apply
_READ, _ANSWERED = RedisRoomStore._get, multiplexer.MultiplexedConnection._on_replies


class Mutant(NamedTuple):
    """A faulty method, and the plan that detects it."""

    name: str
    owner: type
    method: str
    wrong: Callable[..., Any]
    pair: tuple[str, Operation, Operation]
    processes: tuple[int, int]
    faults: int = 0


JOINS, REMOVALS, GONE, CREATIONS = (WITH_FAULTS[number] for number in (3, 1, 6, 11))
LEAVES = ("three users", join("u1"), leave("u1"))
MUTANTS = (
    Mutant("a rejection trusts the cache", RoomStorage, "get", _trusted, LEAVES, (0, 1)),
    Mutant("a read trusts the cache", RedisRoomStore, "_get", _remembered, GONE, (0, 1)),
    Mutant("a conflict is overwritten", RoomStorage, "run_commit", _forced, JOINS, (0, 1)),
    Mutant("the reply to a retry is trusted", CommandExecutor, "finish_script", _believed, JOINS, (0, 1), 1),
    Mutant("results come before the commit", PendingUpdate, "apply", _hasty, JOINS, (0, 1)),
    Mutant("a cancelled update is applied", group_commit._Batch, "_apply", _stubborn, JOINS, (0, 0), 1),
    Mutant("replies are shifted", multiplexer.MultiplexedConnection, "_on_replies", _shifted, CREATIONS, (0, 0), 1),
    Mutant("an unknown outcome is a failure", CommandExecutor, "to_store_error", _sure, REMOVALS, (0, 0), 1),
    Mutant("a loss is not reported", multiplexer.MultiplexedConnection, "_on_disconnect", _silent, JOINS, (0, 0), 1),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_detected(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """A backend with one of these mutations violates a guarantee in some run."""
    state, *operations = mutant.pair
    (plan,) = plans(state, operations, mutant.processes, ["warm"], mutant.faults)
    monkeypatch.setattr(mutant.owner, mutant.method, mutant.wrong)
    assert explore(plan).problems
