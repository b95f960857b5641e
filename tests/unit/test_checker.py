"""The checker accepts histories that can happen, and catches each mistake that it is meant for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.checker import absent_hosts, chat_problems, check, hit_problems
from chaos.history import Answer, Operation, Result, View, read_history, write_history
from chaos.ledger import Ledger
from chaos.linearizable import State, apply, check_room
from wnc_store import VideoState
from wnc_store_contract.factories import message, room


def op(  # noqa: PLR0913 - what an operation has
    kind: str,
    value: str | float | None,
    start: float,
    end: float,
    result: Result = None,
    *,
    answer: Answer = "ok",
    client: str = "c",
) -> Operation:
    """Return an operation of room or chat A."""
    return Operation(client, kind, "A", value, start, end, answer, result)


def simulated(
    seed: int, *, clients: int = 8, count: int = 600, unknown: float = 0.05
) -> tuple[list[Operation], list[State]]:
    """Return a history of a room that really could be, with unknown outcomes, and the states that were written.

    Each operation happens at a random moment between its start and its end; now and then several share one write.
    """
    chance = random.Random(seed)
    free = [0.0] * clients
    spans: list[tuple[float, float, float, int]] = []
    for number in range(count):
        client = number % clients
        start = free[client] + chance.random()
        end = start + chance.random() * 5
        free[client] = end
        spans.append((chance.uniform(start, end), start, end, client))
    state: State = None
    operations: list[Operation] = []
    written: list[State] = []
    users: list[str] = []
    pending = False
    for number, (_, start, end, client) in enumerate(sorted(spans)):
        kinds = ["join", "join", "leave", "video", "edit", "get"] if state else ["create"]
        kind = chance.choice([*kinds, "delete"] if chance.random() < 0.1 else kinds)
        value: str | float = f"u{number}"
        if kind == "leave":
            value = chance.choice(users)
        elif kind == "video":
            value = float(number)
        users.append(f"u{number}" if kind in {"join", "create"} else users[-1])
        one = Operation(f"c{client}", kind, "A", value, start, end, "ok")
        if chance.random() < unknown:
            one = replace(one, answer="unknown")
            if chance.random() < 0.5:
                operations.append(one)
                continue  # it never happened
        before, (state, answer, result) = state, apply(state, one)
        operations.append(one if one.answer == "unknown" else replace(one, answer=answer, result=result))
        if state != before:
            if pending and state is not None and before is not None and state.rev == before.rev + 1:
                written[-1] = state  # committed together with the one before
            else:
                written.append(state)
            pending = kind != "create" and state is not None and chance.random() < 0.3
    return operations, written


@pytest.mark.parametrize("seed", range(10))
def test_histories_that_can_happen_are_accepted(seed: int) -> None:
    """A history that was made by applying each operation at some moment of its span has an order."""
    operations, written = simulated(seed)
    assert check_room(operations, written).problem is None


@pytest.mark.parametrize("seed", range(5))
def test_it_needs_no_file_where_all_outcomes_are_known(seed: int) -> None:
    """Without the written states, the results alone are enough to find the order."""
    operations, _ = simulated(seed, unknown=0)
    assert check_room(operations).problem is None
    last = max(one.end for one in operations)
    assert check_room([*operations, op("get", None, last + 1, last + 2, View(1, "x", ("x",)))]).problem is not None


@pytest.mark.parametrize("seed", range(10))
def test_a_lost_update_is_caught(seed: int) -> None:
    """A join that was acknowledged, and that no later state shows, has no place in any order."""
    operations, written = simulated(seed)
    lost = next(one for one in operations[50:] if one.kind == "join" and one.answer == "ok")
    gone = [
        state._replace(users=tuple(user for user in state.users if user != lost.value)) if state else None
        for state in written
    ]
    assert check_room(operations, gone).problem is not None


@pytest.mark.parametrize("seed", range(10))
def test_a_stale_read_is_caught(seed: int) -> None:
    """A read that returns what had been replaced before it began has no place in any order."""
    operations, written = simulated(seed)
    last = max(one.end for one in operations)
    states = [state for state in written if state is not None]
    stale = op("get", None, last + 1, last + 2, next(state for state in states if state != written[-1]))
    assert check_room([*operations, stale], written).problem is not None
    fresh = op("get", None, last + 1, last + 2, written[-1])
    assert check_room([*operations, fresh], written).problem is None


def test_an_operation_that_happened_twice_is_caught() -> None:
    """Two revisions by one edit have no order."""
    operations = [
        op("create", "u1", 0, 1, None),
        op("edit", "url", 2, 3, View(3, "u1", ("u1",), 0, "url")),
    ]
    written: list[State] = [View(1, "u1", ("u1",)), View(2, "u1", ("u1",), 0, "url"), View(3, "u1", ("u1",), 0, "url")]
    assert check_room(operations, written).problem is not None
    once = [operations[0], replace(operations[1], result=written[1])]
    assert check_room(once, written[:2]).problem is None


def test_the_same_state_written_again_is_no_operation() -> None:
    """Bytes that are written twice, as the repetition of a creation may, need no second operation."""
    view = View(1, "u1", ("u1",))
    assert check_room([op("create", "u1", 0, 1, None)], [view, view]).problem is None
    assert check_room([op("create", "u1", 0, 1, None)], [view, None, view]).problem is not None


def test_order_follows_real_time() -> None:
    """What ended before something else began comes first, and what overlaps may come in either order."""
    one, two = View(2, "u1", ("u1", "a")), View(3, "u1", ("u1", "a", "b"))
    create = op("create", "u1", 0, 1, None)
    turned = [create, op("join", "b", 2, 3, two), op("join", "a", 4, 5, one)]
    assert check_room(turned).problem is not None
    overlapping = [create, op("join", "b", 2, 4, two), op("join", "a", 3, 5, one)]
    assert check_room(overlapping).problem is None


def test_a_refused_operation_that_happened_is_caught() -> None:
    """A write that raised, and that the server wrote down, is a lie."""
    written: list[State] = [View(1, "u1", ("u1",)), View(2, "u1", ("u1", "a"))]
    create = op("create", "u1", 0, 1, None)
    assert check_room([create, op("join", "a", 2, 3, answer="refused")], written).problem is not None
    assert check_room([create, op("join", "a", 2, 3, answer="unknown")], written).problem is None
    assert check_room([create, op("join", "a", 2, 3, answer="unknown")], written[:1]).problem is None


def test_an_unknown_outcome_that_was_resolved_wrongly_is_caught() -> None:
    """A write that the server never applied, and that a caller was told had happened, has no order."""
    written: list[State] = [View(1, "u1", ("u1",))]
    operations = [op("create", "u1", 0, 1, None), op("join", "a", 2, 3, View(2, "u1", ("u1", "a")))]
    assert check_room(operations, written).problem is not None


def test_an_unknown_write_happens_once_at_most() -> None:
    """One unknown edit explains one revision, not two."""
    create, edit = op("create", "u1", 0, 1, None), op("edit", "url", 2, 3, answer="unknown")
    read = op("get", None, 4, 5, View(3, "u1", ("u1",), 0, "url"))
    assert check_room([create, edit, read]).problem is not None
    assert check_room([create, edit, replace(read, result=View(2, "u1", ("u1",), 0, "url"))]).problem is None


def test_an_unknown_write_may_happen_long_after_its_call() -> None:
    """An operation of unknown outcome has no end, but it never comes before its start."""
    create, edit = op("create", "u1", 0, 1, None), op("edit", "url", 2, 3, answer="unknown")
    before, after = View(1, "u1", ("u1",)), View(2, "u1", ("u1",), 0, "url")
    reads = [op("get", None, 4, 5, before), op("get", None, 6, 7, after)]
    assert check_room([create, edit, *reads]).problem is None
    early = op("get", None, 1.2, 1.4, after)
    assert check_room([create, early, edit]).problem is not None


def test_writes_that_nobody_saw_do_not_prolong_the_search() -> None:
    """Among many joins of unknown outcome, the edit that was committed with another unseen is found at once."""
    create, read = op("create", "u1", 0, 1, None), op("get", None, 9, 10, View(3, "u1", ("u1",), 0, "seen"))
    unknown = [op("join", f"j{number}", 2 + number / 1000, 3, answer="unknown") for number in range(500)]
    unseen, seen = op("edit", "unseen", 1.5, 1.9, answer="unknown"), op("edit", "seen", 6, 7, read.result)
    history = [create, *unknown, *[op("leave", f"j{number}", 3, 3.5, answer="unknown") for number in range(500)]]
    written: list[State] = [View(1, "u1", ("u1",)), View(3, "u1", ("u1",), 0, "seen")]
    verdict = check_room([*history, unseen, seen, read], written)
    assert verdict.problem is None
    assert verdict.steps < 10
    assert "no order" in (check_room([*history, seen, read], written).problem or "")


def test_running_out_of_steps_is_a_failure() -> None:
    """A search that gave up has not shown anything."""
    operations, written = simulated(0)
    verdict = check_room(operations, written, budget=10)
    assert verdict.problem is not None
    assert "no verdict" in verdict.problem


def test_a_host_who_is_no_user_is_caught() -> None:
    """A live room names one of its users as host; a deleted room names nobody."""
    good = {"hostId": "a", "users": [{"id": "a"}], "rev": 1}
    assert list(absent_hosts([good, None])) == []
    assert len(list(absent_hosts([good, {**good, "hostId": "b"}]))) == 1


SAYS = [op("say", f"m{number}", 10 * number, 10 * number + 5) for number in range(30)]
LOG = [f"m{number}" for number in range(30)]


def read(start: float, end: float, ids: Sequence[str]) -> Operation:
    """Return a read of a chat."""
    return op("read", None, start, end, tuple(ids), client="reader")


@pytest.mark.parametrize(
    "operations",
    [
        [read(295.5, 296, LOG[10:])],
        [read(292, 293, LOG[9:29])],
        [read(292, 293, LOG[10:])],
        [read(-2, -1, [])],
        [op("say", "lost", 5, 6, answer="unknown"), op("say", "refused", 5, 6, answer="refused")],
    ],
    ids=["last", "before", "during", "empty", "never happened"],
)
def test_chats_that_can_be_are_accepted(operations: list[Operation]) -> None:
    """A read may end with any message that was being written, and what failed may be missing."""
    assert list(chat_problems([*SAYS, *operations], LOG)) == []


@pytest.mark.parametrize(
    ("operations", "log", "found"),
    [
        ([], [*LOG, "m3"], "2 times"),
        ([], LOG[:-1], "never appended"),
        ([op("say", "x", 5, 6, answer="refused")], [*LOG, "x"], "was refused"),
        ([], [*LOG, "x"], "from nowhere"),
        ([], [*LOG[:4], "m5", "m4", *LOG[6:]], "stands after it"),
        ([read(296, 297, LOG[9:29])], LOG, "had been seen"),
        ([read(292, 293, LOG[10:]), read(293.5, 294, LOG[9:29])], LOG, "had been seen"),
        ([read(280, 281, LOG[10:])], LOG, "before it was written"),
        ([read(296, 297, LOG[11:])], LOG, "never was"),
        ([read(296, 297, [*LOG[10:14], "m15", "m14", *LOG[16:]])], LOG, "never was"),
        ([read(296, 297, [])], LOG, "read nothing"),
        ([op("clear", None, 296, 297), read(298, 299, LOG[10:])], LOG, "had been cleared"),
    ],
    ids=[
        "twice",
        "lost",
        "refused",
        "nowhere",
        "reordered",
        "stale",
        "back in time",
        "early",
        "incomplete",
        "mixed up",
        "emptied",
        "not cleared",
    ],
)
def test_chats_that_cannot_be_are_caught(operations: list[Operation], log: list[str], found: str) -> None:
    """Each way in which a chat can be wrong has a name."""
    assert any(found in problem for problem in chat_problems([*SAYS, *operations], log))


def test_a_deleted_chat_begins_anew() -> None:
    """After a deletion a read shows only what came later; across it, it shows what never was."""
    log = [*LOG[:28], None, *LOG[28:]]
    assert list(chat_problems([*SAYS, read(296, 297, LOG[28:])], log)) == []
    assert list(chat_problems([*SAYS, read(275.5, 281, [])], log)) == []
    assert any("never was" in one for one in chat_problems([*SAYS, read(296, 297, LOG[20:])], log))
    assert any("read nothing" in one for one in chat_problems([*SAYS, read(288, 289, [])], log))


HITS = [op("hit", None, 10 * number, 10 * number + 5, number + 1) for number in range(9)]


def test_hits_that_were_counted_once_are_accepted() -> None:
    """The count lies between the acknowledged hits and those and the unknown ones together."""
    unknown = op("hit", None, 5, 6, answer="unknown")
    assert list(hit_problems(HITS, 9)) == []
    assert [list(hit_problems([*HITS, unknown], count)) for count in (9, 10)] == [[], []]


def test_hits_that_were_counted_wrongly_are_caught() -> None:
    """A hit that was counted twice, or not, or told the count of another, is a problem."""
    assert any("counted 10 times" in one for one in hit_problems(HITS, 10))
    assert any("counted 8 times" in one for one in hit_problems(HITS, 8))
    twice = [*HITS[:-1], replace(HITS[-1], result=8)]
    assert any("2 callers" in one for one in hit_problems(twice, 9))
    turned = [*HITS[:-2], replace(HITS[-2], result=9), replace(HITS[-1], result=8)]
    assert any("after a higher one" in one for one in hit_problems(turned, 9))


def test_a_whole_history_is_judged_by_what_the_server_wrote() -> None:
    """Rooms, chats and hits of one history are each judged by their part of the file."""
    stored = room("A", "u1", rev=1, video_state=VideoState()).to_json()
    operations = [
        op("create", "u1", 0, 1, None),
        op("say", "m1", 2, 3),
        op("say", "m2", 2, 3, answer="unknown"),
        op("hit", None, 4, 5, 1),
    ]
    ledger = Ledger({"A": [stored]}, {"A": [message(1, "A").to_json()]}, {"rl:A": 1})
    report = check(operations, ledger)
    assert report.problems == []
    assert report.operations == {"ok": 3, "unknown": 1}
    assert report.resolved == {"did not happen": 1}
    ledger.rooms["A"].append({**stored, "hostId": "nobody"})
    ledger.chats["A"].append(None)
    ledger.chats["A"].append({"id": "m1"})
    ledger.steps["rl:A"] = 2
    kinds = {problem.split()[0] for problem in check(operations, ledger).problems}
    assert kinds == {"room", "chat", "hits"}


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    """What a process writes down is what the checker reads."""
    operations = [
        op("get", None, 0, 1, View(1, "u1", ("u1",), 1.5, "url")),
        op("read", None, 0, 1, ("m1", "m2")),
        op("delete", None, 2, 3, result=True),
        op("join", "a", 2, 3, answer="unknown"),
    ]
    write_history(tmp_path / "history", operations)
    assert read_history(tmp_path / "history") == operations
