"""The checker accepts possible histories and detects each kind of violation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaos.checker import absent_hosts, chat_problems, check, hit_problems
from chaos.ledger import Ledger
from wnc_store import VideoState
from wnc_store_contract.factories import message, room
from wnc_store_contract.faults.history import Answer, Operation, Result, View
from wnc_store_contract.faults.linearizable import check_room


def op(  # noqa: PLR0913 - the fields of an operation
    kind: str,
    value: str | float | None,
    start: float,
    end: float,
    result: Result = None,
    *,
    answer: Answer = "ok",
    client: str = "c",
) -> Operation:
    """Return an operation on room or chat A."""
    return Operation(client, kind, "A", value, start, end, answer, result)


U1, JOINED = View(1, "u1", ("u1",)), View(2, "u1", ("u1", "a"))
EDITED, EDITED_TWICE = View(2, "u1", ("u1",), 0, "url"), View(3, "u1", ("u1",), 0, "url")
CREATE, JOIN, EDIT = op("create", "u1", 0, 1), op("join", "a", 2, 3), op("edit", "url", 2, 3)
READ = op("get", None, 4, 5)


@pytest.mark.parametrize(
    ("operations", "written", "is_possible"),
    [
        ([CREATE, replace(EDIT, result=EDITED_TWICE)], [U1, EDITED, EDITED_TWICE], False),
        ([CREATE, replace(EDIT, result=EDITED)], [U1, EDITED], True),
        ([CREATE], [U1, U1], True),
        ([CREATE], [U1, None, U1], False),
        ([CREATE, replace(JOIN, answer="refused")], [U1, JOINED], False),
        ([CREATE, replace(JOIN, answer="unknown")], [U1, JOINED], True),
        ([CREATE, replace(JOIN, answer="unknown")], [U1], True),
        ([CREATE, replace(JOIN, result=JOINED)], [U1], False),
        ([CREATE, replace(EDIT, answer="unknown"), replace(READ, result=EDITED_TWICE)], None, False),
        ([CREATE, replace(EDIT, answer="unknown"), replace(READ, result=EDITED)], None, True),
        ([CREATE, replace(JOIN, result=JOINED), replace(READ, result=U1)], None, False),
        ([CREATE, replace(JOIN, result=JOINED), replace(READ, result=JOINED)], None, True),
        ([CREATE, replace(JOIN, result=JOINED), replace(EDIT, start=3.5, end=4, result=EDITED)], [U1, EDITED], False),
    ],
    ids=[
        *("one edit, two revisions", "one edit, one revision", "identical bytes written twice", "created twice"),
        *("rejected, but applied", "unknown, applied", "unknown, not applied", "acknowledged, not applied"),
        *("unknown, applied twice", "unknown, applied once", "a stale read", "a read", "a lost update"),
    ],
)
def test_short_histories(operations: list[Operation], written: list[View | None] | None, *, is_possible: bool) -> None:
    """A history has an order if each write was applied as its outcome allows and reads are fresh; otherwise none."""
    assert (check_room(operations, written).problem is None) is is_possible


def test_order_follows_real_time() -> None:
    """An operation that ended before another began comes first, and overlapping ones can come in either order."""
    both = View(3, "u1", ("u1", "a", "b"))
    turned = [CREATE, op("join", "b", 2, 3, both), op("join", "a", 4, 5, JOINED)]
    assert check_room(turned).problem is not None
    overlapping = [CREATE, op("join", "b", 2, 4, both), op("join", "a", 3, 5, JOINED)]
    assert check_room(overlapping).problem is None


def test_an_unknown_write_may_happen_long_after_its_call() -> None:
    """An operation with an unknown outcome may happen late, but it never comes before its start."""
    create, edit = op("create", "u1", 0, 1, None), op("edit", "url", 2, 3, answer="unknown")
    before, after = View(1, "u1", ("u1",)), View(2, "u1", ("u1",), 0, "url")
    reads = [op("get", None, 4, 5, before), op("get", None, 6, 7, after)]
    assert check_room([create, edit, *reads]).problem is None
    early = op("get", None, 1.2, 1.4, after)
    assert check_room([create, early, edit]).problem is not None


def test_unseen_writes_do_not_prolong_the_search() -> None:
    """The search finds an unseen edit among many unknown joins in few steps; exceeding its budget is a problem."""
    create, read = op("create", "u1", 0, 1, None), op("get", None, 9, 10, View(3, "u1", ("u1",), 0, "seen"))
    unknown = [op("join", f"j{number}", 2 + number / 1000, 3, answer="unknown") for number in range(500)]
    unseen, seen = op("edit", "unseen", 1.5, 1.9, answer="unknown"), op("edit", "seen", 6, 7, read.result)
    history = [create, *unknown, *[op("leave", f"j{number}", 3, 3.5, answer="unknown") for number in range(500)]]
    written: list[View | None] = [View(1, "u1", ("u1",)), View(3, "u1", ("u1",), 0, "seen")]
    verdict = check_room([*history, unseen, seen, read], written)
    assert verdict.problem is None
    assert verdict.steps < 10
    assert "no order" in (check_room([*history, seen, read], written).problem or "")
    assert "budget" in (check_room([*history, unseen, seen, read], written, budget=1).problem or "")


def test_a_host_who_is_not_a_user_is_detected() -> None:
    """The host of a stored room must be one of its users."""
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
def test_possible_chats_are_accepted(operations: list[Operation]) -> None:
    """A read may end with any message in progress, and failed messages may be missing."""
    assert list(chat_problems([*SAYS, *operations], LOG)) == []


@pytest.mark.parametrize(
    ("operations", "log", "found"),
    [
        ([], [*LOG, "m3"], "2 times"),
        ([], LOG[:-1], "not added"),
        ([op("say", "x", 5, 6, answer="refused")], [*LOG, "x"], "was rejected"),
        ([], [*LOG, "x"], "without a call"),
        ([], [*LOG[:4], "m5", "m4", *LOG[6:]], "was added after it"),
        ([read(296, 297, LOG[9:29])], LOG, "had been seen"),
        ([read(292, 293, LOG[10:]), read(293.5, 294, LOG[9:29])], LOG, "had been seen"),
        ([read(280, 281, LOG[10:])], LOG, "before it was sent"),
        ([read(296, 297, LOG[11:])], LOG, "never had"),
        ([read(296, 297, [*LOG[10:14], "m15", "m14", *LOG[16:]])], LOG, "never had"),
        ([read(296, 297, [])], LOG, "read an empty chat"),
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
def test_impossible_chats_are_detected(operations: list[Operation], log: list[str], found: str) -> None:
    """Each kind of violation in a chat has its own message."""
    assert any(found in problem for problem in chat_problems([*SAYS, *operations], log))


@pytest.mark.parametrize(("final", "is_possible"), [(7, False), (12, True)])
def test_an_unknown_message_is_not_added_after_it_is_final(final: float, *, is_possible: bool) -> None:
    """A message with an unknown outcome may be added after messages that began before it was final, and no others."""
    unknown = replace(op("say", "x", 1, 6, answer="unknown"), final=final)
    log = [*LOG[:2], "x", *LOG[2:]]
    assert (list(chat_problems([*SAYS, unknown], log)) == []) is is_possible


@pytest.mark.parametrize(("final", "is_possible"), [(7, False), (12, True)])
def test_an_unknown_change_does_not_happen_after_it_is_final(final: float, *, is_possible: bool) -> None:
    """A change with an unknown outcome may happen after a read that began before it was final, and no others."""
    unknown = replace(EDIT, answer="unknown", final=final)
    reads = [op("get", None, 10, 11, U1), op("get", None, 20, 21, EDITED)]
    assert (check_room([CREATE, unknown, *reads]).problem is None) is is_possible


LEASE, RELEASE = op("acquire", "c1", 0, 1, 1), op("release", "c1", 2, 3, 0)
ONE, NONE = frozenset({"c1"}), frozenset[str]()


@pytest.mark.parametrize(
    ("operations", "states", "is_possible"),
    [
        ([LEASE, RELEASE], [ONE, NONE], True),
        ([LEASE], [ONE, NONE], False),
        ([LEASE, replace(RELEASE, answer="unknown")], [ONE, NONE], True),
        ([LEASE, RELEASE], [ONE], False),
        ([LEASE, RELEASE], [ONE, NONE, ONE], False),
    ],
    ids=["both", "ended without a call", "unknown", "not ended", "acquired twice"],
)
def test_leases_are_checked_against_the_ledger(
    operations: list[Operation], states: list[frozenset[str]], *, is_possible: bool
) -> None:
    """Each state of the leases follows from a call, and each acknowledged call changes them once."""
    assert (check(operations, Ledger(leases={"A": states})).problems == []) is is_possible


def test_the_ledger_follows_leases() -> None:
    """The ledger contains the leases of a key after each command that adds or removes some."""
    ledger = Ledger()
    ledger.add([(b"ZADD", b"conn:A", b"1", b"c1", b"2", b"c2")])
    ledger.add([(b"ZREM", b"conn:A", b"c1")])
    assert ledger.leases == {"A": [frozenset({"c1", "c2"}), frozenset({"c2"})]}


def test_a_deleted_chat_starts_empty() -> None:
    """After a deletion, a read returns only later messages, and a read across it is a violation."""
    log = [*LOG[:28], None, *LOG[28:]]
    assert list(chat_problems([*SAYS, read(296, 297, LOG[28:])], log)) == []
    assert list(chat_problems([*SAYS, read(275.5, 281, [])], log)) == []
    assert any("never had" in one for one in chat_problems([*SAYS, read(296, 297, LOG[20:])], log))
    assert any("read an empty chat" in one for one in chat_problems([*SAYS, read(288, 289, [])], log))


HITS = [op("hit", None, 10 * number, 10 * number + 5, number + 1) for number in range(9)]


def test_exact_counts_are_accepted() -> None:
    """The count is at least the acknowledged hits and at most the acknowledged and unknown hits."""
    unknown = op("hit", None, 5, 6, answer="unknown")
    assert list(hit_problems(HITS, 9)) == []
    assert [list(hit_problems([*HITS, unknown], count)) for count in (9, 10)] == [[], []]


def test_wrong_counts_are_detected() -> None:
    """Duplicate and missing hits and repeated counts are violations."""
    assert any("counted 10 times" in one for one in hit_problems(HITS, 10))
    assert any("counted 8 times" in one for one in hit_problems(HITS, 8))
    twice = [*HITS[:-1], replace(HITS[-1], result=8)]
    assert any("2 callers" in one for one in hit_problems(twice, 9))
    turned = [*HITS[:-2], replace(HITS[-2], result=9), replace(HITS[-1], result=8)]
    assert any("after a higher count" in one for one in hit_problems(turned, 9))


def test_a_history_is_checked_against_the_ledger() -> None:
    """Rooms, chats and hits of a history are each checked against their part of the ledger."""
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
    ledger.rooms["A"].append({**stored, "hostId": "nobody"})
    ledger.chats["A"].append(None)
    ledger.chats["A"].append({"id": "m1"})
    ledger.steps["rl:A"] = 2
    kinds = {problem.split()[0] for problem in check(operations, ledger).problems}
    assert kinds == {"rooms", "chats", "limits"}
