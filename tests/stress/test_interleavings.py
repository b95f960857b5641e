"""Every order in which two or three operations can meet, at every tick of the event loop, with every single mishap.

The stores are real, and so are their Lua scripts; connections, server and clocks are chosen step by step
(`tests/helpers/interleavings`). After each run, some order of the operations that agrees with time must explain what
the callers were told and what is stored.
"""

from __future__ import annotations

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
    create,
    delete,
    edit,
    join,
    leave,
    look,
    read_chat,
    say,
    set_video,
    transfer,
)
from interleavings.world import Plan, open_fake_link
from wnc_store_contract.factories import message, room
from wnc_store_redis import group_commit
from wnc_store_redis.room_storage import PendingCommit, RoomStorage
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.executor import CommandExecutor, InFlightScript

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
COMMITS = tuple(one.name for one in (leave("ann"), transfer("bob"), edit("a"), set_video("https://video.example/1")))
"""Operations that differ from a join by their rule alone, and are committed in the same way."""

ONE_KIND = (
    (join("u1"), join("u2")),
    (transfer("bob"), transfer("ann")),
    (edit("a"), edit("b")),
    (set_video("https://video.example/1"), set_video("https://video.example/2")),
    (say(1), say(2)),
)
WITH_MISHAPS = (
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
    """Let every store connect to the world of its run, and no slowness of the machine part the changes of a commit."""
    monkeypatch.setattr(multiplexer, "open_connection", open_fake_link)
    monkeypatch.setattr(group_commit, "_MAX_APPLY_SECONDS", math.inf)


def plans(
    state: str, operations: Sequence[Operation], processes: Sequence[int], caches: Sequence[str], mishaps: int = 0
) -> list[Plan]:
    """Return a plan for each cache."""
    asked = list(zip(operations, processes, strict=True))
    return [Plan(STATES[state], asked, cache, mishaps) for cache in caches]


def pairs(state: str) -> list[tuple[Operation, Operation]]:
    """Return the pairs of operations for what is stored at first."""
    more = ONE_KIND if state == "three users" else ()
    return [*combinations_with_replacement(OPERATIONS[state], 2), *more]


def check(tried: Sequence[Plan], at_least: int) -> None:
    """Explore plans: there must be so many runs, and nothing wrong."""
    found = [explore(plan) for plan in tried]
    problems = [problem for one in found for problem in one.problems]
    assert not problems, f"{len(problems)} of {len(tried)} plans: {problems[0]}"
    assert sum(one.runs for one in found) >= at_least


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_run_is_tried(processes: int) -> None:
    """Processes that send a command each have as many runs as there are orders of their beginnings and answers."""
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
    """Two operations, wherever the second begins, happen in some order, also after the room was changed by others."""
    check([plan for pair in pairs(state) for plan in plans(state, pair, processes, caches)], at_least)


@pytest.mark.parametrize(("processes", "at_least"), [((0, 0, 0), 1200), ((0, 0, 1), 700), ((0, 1, 2), 800)])
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
def test_an_operation_bears_two_mishaps(state: str, operation: Operation, cache: str) -> None:
    """An operation bears any two losses, refusals, cancellations and silences, and tells the truth about itself."""
    check(plans(state, [operation], [0], [cache], 2), 200)


@pytest.mark.parametrize("pair", WITH_MISHAPS, ids=lambda pair: "+".join(one.name for one in pair[1:]))
def test_pairs_of_two_processes_bear_a_mishap(pair: tuple[str, Operation, Operation]) -> None:
    """Wherever a connection is lost, a caller cancelled or the server silent, what callers are told is true."""
    state, *operations = pair
    check(plans(state, operations, (0, 1), ["warm"], 1), 250)


@pytest.mark.parametrize("pair", WITH_MISHAPS[:3], ids=lambda pair: "+".join(one.name for one in pair[1:]))
def test_pairs_of_one_process_bear_a_mishap(pair: tuple[str, Operation, Operation]) -> None:
    """Two operations that share a connection, and perhaps a commit, fail or happen each for itself."""
    state, *operations = pair
    check(plans(state, operations, (0, 0), ["warm"], 1), 1000)


@pytest.mark.parametrize(
    ("state", "first"),
    [pytest.param(state, first, id=f"{state}-{first.name}") for state, some in OPERATIONS.items() for first in some],
)
@pytest.mark.parametrize(("processes", "cache"), [((0, 0), "warm"), ((0, 1), "stale")], ids=["one", "two"])
def test_all_pairs_bear_a_mishap(state: str, first: Operation, processes: Sequence[int], cache: str) -> None:
    """Every pair of operations, in one process or in two, meets every mishap."""
    alike = COMMITS if processes == (0, 1) else ()
    mine = [pair for pair in pairs(state) if pair[0].name == first.name and not {one.name for one in pair} & set(alike)]
    check([plan for pair in mine for plan in plans(state, pair, processes, [cache], 1)], 150 * len(mine))


LOST_MESSAGES = ((say(1), clear(), say(0)), (say(1), say(2), say(3)))


@pytest.mark.parametrize("operations", LOST_MESSAGES, ids=lambda some: "+".join(one.name for one in some))
def test_a_message_that_others_remove_bears_a_mishap(operations: Sequence[Operation]) -> None:
    """A message that is cleared, deleted or pushed out while its reply is lost is never appended again."""
    check(plans("three users", operations, (0, 1, 1), ["warm"], 1), 1000)


@pytest.mark.parametrize("operations", [(edit("a"), leave("host"), delete()), (join("u1"), leave("host"), leave("u1"))])
def test_a_group_that_ends_in_a_deletion_bears_a_mishap(operations: Sequence[Operation]) -> None:
    """Changes that share a commit with the last leave tell the truth whatever is lost."""
    check(plans("one user", operations, (0, 0, int(operations[-1].name == "delete")), ["warm"], 1), 10_000)


def test_equal_changes_of_two_processes_both_count() -> None:
    """A change whose first attempt was lost is not taken for done because another process made the very same one."""
    equal = [(operation, operation) for operation in (edit("a"), join("u1"), transfer("bob"))]
    check([plan for pair in equal for plan in plans("three users", pair, (0, 1), ["warm"], 1)], 900)


async def _trusted(path: RoomStorage, room_id: str, deadline: float | None = None) -> Any:
    """Take what was seen last for what is stored."""
    return path.cached(room_id) or await _LOAD(path, room_id, deadline)


async def _forced(path: RoomStorage, commit: PendingCommit) -> Any:
    """Commit again on top of what was found, whatever that is."""
    conflict = await _COMMITTED(path, commit)
    while conflict is not None and conflict.current is not None:
        after = commit.after and commit.after.room
        commit = path.start_commit(conflict.current, after, (), commit.deadline)
        conflict = await _COMMITTED(path, commit)
    return conflict


async def _believed(commands: CommandExecutor, sent: InFlightScript, *, again: Sequence[bytes]) -> Any:
    """Take the reply to a repetition for the one to the attempt before."""
    reply, repeated = await _SETTLED(commands, sent, retry_args=again)
    return (1 if repeated else reply), repeated


def _hasty(change: Any, room: Any) -> Any:
    """Tell the caller before the commit."""
    after = _APPLY(change, room)
    change.resolve()
    return after


def _stubborn(commits: Any, group: Any) -> bool:
    """Keep the changes of callers who were cancelled."""
    waiting = commits._queues[group.room_id]
    group.updates += waiting
    added = bool(waiting)
    waiting.clear()
    return added


def _shifted(multiplexer: Any, replies: Sequence[Any]) -> None:
    """Forget whose reply comes next when a caller has gone."""
    for request in [one for one in multiplexer._in_flight if one.future.done()][: len(multiplexer._in_flight) - 1]:
        multiplexer._in_flight.remove(request)
    _ANSWERED(multiplexer, replies)


def _sure(commands: CommandExecutor, error: BaseException, key: bytes, **_options: Any) -> Any:
    """Say of a write without an answer that it did not happen."""
    return _FAILURE(commands, error, key)


def _silent(multiplexer: Any, _error: BaseException) -> None:
    """Forget those who wait for the answers of a connection that is lost."""
    multiplexer._connection = None
    multiplexer._in_flight.clear()
    multiplexer._in_flight_bytes = 0


_LOAD, _COMMITTED, _SETTLED, _FAILURE = (
    RoomStorage.get,
    RoomStorage.finish_commit,
    CommandExecutor.finish_script,
    CommandExecutor.to_store_error,
)
_APPLY, _ANSWERED = group_commit._PendingUpdate.apply, multiplexer.MultiplexedConnection._on_replies


class Mistake(NamedTuple):
    """A method that is wrong, and where that shows."""

    name: str
    owner: type
    method: str
    wrong: Callable[..., Any]
    pair: tuple[str, Operation, Operation]
    processes: tuple[int, int]
    mishaps: int = 0


JOINS, REMOVALS, GONE, CREATIONS = (WITH_MISHAPS[number] for number in (3, 1, 6, 11))
MISTAKES = (
    Mistake("a refusal trusts the cache", RoomStorage, "get", _trusted, GONE, (0, 1)),
    Mistake("a conflict is overwritten", RoomStorage, "finish_commit", _forced, JOINS, (0, 1)),
    Mistake("a repetition is believed", CommandExecutor, "finish_script", _believed, JOINS, (0, 1), 1),
    Mistake("results come before the commit", group_commit._PendingUpdate, "apply", _hasty, JOINS, (0, 1)),
    Mistake("a cancelled change is made", group_commit.GroupCommit, "_drain_queue", _stubborn, JOINS, (0, 0), 1),
    Mistake("replies are mixed up", multiplexer.MultiplexedConnection, "_on_replies", _shifted, CREATIONS, (0, 0), 1),
    Mistake("an unknown outcome is a failure", CommandExecutor, "to_store_error", _sure, REMOVALS, (0, 0), 1),
    Mistake("nobody is told of a loss", multiplexer.MultiplexedConnection, "_on_disconnect", _silent, JOINS, (0, 0), 1),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.name)
def test_a_mistake_is_found(monkeypatch: pytest.MonkeyPatch, mistake: Mistake) -> None:
    """A backend with one of the mistakes that are easily made breaks a promise in some run."""
    state, *operations = mistake.pair
    (plan,) = plans(state, operations, mistake.processes, ["warm"], mistake.mishaps)
    monkeypatch.setattr(mistake.owner, mistake.method, mistake.wrong)
    assert explore(plan).problems
