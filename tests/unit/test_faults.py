"""Calls under faults on memory stores with simulated connections, right and broken."""

from __future__ import annotations

import asyncio

import pytest

from broken_stores.disconnected import DISCONNECTED, MixesUpRepliesAfterACancellation
from simulated_connection import Request, SimulatedHarness, SimulatedStore
from virtual_time import VirtualTimeLoop
from wnc_store import ConfigurationError
from wnc_store_contract import Capability, Harness
from wnc_store_contract.clause import TIME_LIMIT
from wnc_store_contract.faults.history import Operation, View
from wnc_store_contract.faults.judge import RULES, TRUTHFUL_ERRORS, judge
from wnc_store_contract.faults.run import ERRORS, RECOVERY, FaultReport, Violation, describe, run_faults
from wnc_store_contract.memory import MemoryHarness

FEW = 3000
"""Calls within which each broken store is caught."""


def run(harness: Harness, seed: int, operations: int = FEW) -> FaultReport:
    """Run calls under faults in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run_faults(harness, seed, operations=operations))


@pytest.mark.parametrize("seed", range(3))
def test_a_right_store_violates_nothing(seed: int) -> None:
    """A store that reports lost requests and lost replies correctly produces neither violations nor undecided keys."""
    report = run(SimulatedHarness(), seed)
    assert (report.violations, report.undecided) == ([], 0)
    assert report.operations >= FEW
    assert min(report.faults, report.unknown, report.refused) > 100


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", [*DISCONNECTED, MixesUpRepliesAfterACancellation], ids=lambda kind: kind.__name__)
def test_a_broken_store_is_caught(kind: type[SimulatedStore], seed: int) -> None:
    """Each broken store violates a rule within a few operations."""
    report = run(SimulatedHarness(kind), seed)
    assert report.violations
    assert all(violation.rule and violation.history for violation in report.violations)


@pytest.mark.parametrize("kind", DISCONNECTED, ids=lambda kind: kind.__name__)
def test_a_broken_store_is_right_without_faults(kind: type[SimulatedStore]) -> None:
    """The same calls to the same stores violate nothing if the connections are not cut."""
    assert run(SimulatedHarness(kind, is_cut=False), 0, 600).violations == []


@pytest.mark.parametrize(
    "undeclared", [{Capability.SHARED}, {Capability.CHAT, Capability.CONNECTIONS, Capability.RATE_LIMITS}], ids=len
)
def test_undeclared_capabilities_are_not_used(undeclared: set[Capability]) -> None:
    """A harness without these capabilities is run with one store, or with rooms only."""
    harness = SimulatedHarness(broken("CountsTwice") if Capability.RATE_LIMITS in undeclared else SimulatedStore)
    harness.capabilities -= undeclared
    report = run(harness, 0, 600)
    assert report.violations == []
    assert report.operations >= 600


@pytest.mark.parametrize("error", [TimeoutError, asyncio.CancelledError])
def test_errors_that_look_like_a_cancellation_are_reported(error: type[BaseException]) -> None:
    """A TimeoutError or CancelledError of the store is an error if the caller was not cancelled."""

    class Raising(SimulatedStore):
        async def on_lost_request(self, request: Request) -> object:  # noqa: ARG002 - its name is the base class's
            raise error

    assert any(violation.rule == ERRORS for violation in run(SimulatedHarness(Raising), 0).violations)


def test_a_seed_repeats_a_run() -> None:
    """Two runs with the same seed call and disconnect the same."""
    first, second = (run(SimulatedHarness(), 7, 600) for _ in range(2))
    assert first == second
    assert first != run(SimulatedHarness(), 8, 600)


def test_the_time_of_a_restart_does_not_count() -> None:
    """A restart that takes longer than a round may take is not a violation."""

    class Slow(SimulatedHarness):
        restarts = 0

        async def restart(self) -> None:
            self.restarts += 1
            await asyncio.sleep(2 * TIME_LIMIT)
            await super().restart()

    harness = Slow()
    assert run(harness, 0, 600).violations == []
    assert harness.restarts > 0


def test_a_run_stops_at_its_limit_of_seconds() -> None:
    """No further round starts after the last second."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(run_faults(SimulatedHarness(), 0, seconds=0)).operations == 0


def test_faults_require_a_harness_that_disconnects() -> None:
    """A harness that does not declare the capability is refused with its name."""
    with pytest.raises(ConfigurationError, match=r"Capability\.DISCONNECT, which MemoryHarness does not declare"):
        run(MemoryHarness(), 0)


def broken(name: str) -> type[SimulatedStore]:
    """Return a broken store by name."""
    return next(kind for kind in DISCONNECTED if kind.__name__ == name)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("CountsTwice", RULES["limits"]),
        ("AppendsTwice", RULES["chats"]),
        ("RemovesTwice", RULES["chats"]),
        ("LosesLeases", RULES["connections"]),
        ("RepeatsAVideoState", RULES["rooms"]),
        ("ReportsAnAppliedWriteAsRefused", TRUTHFUL_ERRORS),
        ("RaisesTheErrorOfItsDriver", ERRORS),
        ("NeverReconnects", RECOVERY),
        ("HangsAfterACut", RECOVERY),
    ],
)
def test_a_violation_names_its_rule(name: str, rule: str) -> None:
    """Each kind of violation is reported with the rule that it violates."""
    assert any(rule in violation.rule for violation in run(SimulatedHarness(broken(name)), 0).violations)


def test_a_report_survives_json() -> None:
    """A report that was written as JSON values is read back unchanged."""
    report = FaultReport(3, 10, 1, 2, 3, 4, [Violation("rule", "key", ["line"])])
    assert FaultReport.from_json(report.to_json()) == report


def test_a_disconnect_that_raises_ends_the_run() -> None:
    """The error of a harness that cannot disconnect is raised, not swallowed."""

    class Failing(SimulatedHarness):
        async def disconnect(self) -> None:
            message = "no route to the server"
            raise RuntimeError(message)

        restart = disconnect

    with pytest.raises(RuntimeError, match="no route"):
        run(Failing(), 0)


def op(  # noqa: PLR0913, PLR0917 - the fields of an operation
    kind: str, value: str | None, start: float, end: float, result: object = None, answer: str = "ok", client: str = "c"
) -> Operation:
    """Return an operation on the key K."""
    return Operation(client, kind, "K", value, start, end, answer, result)  # type: ignore[arg-type]


def say(number: int, answer: str = "ok") -> Operation:
    """Add a message."""
    return op("say", f"m{number}", 10 * number, 10 * number + 5, None, answer)


def read(start: float, *numbers: int) -> Operation:
    """Read a chat."""
    return op("read", None, start, start + 1, tuple(f"m{number}" for number in numbers))


def correct(number: int, text: str, start: float, result: object = True, answer: str = "ok") -> Operation:
    """Correct a message."""
    return op("correct", f"m{number}={text}", start, start + 1, result, answer)


def remove(number: int, start: float, result: object = True, answer: str = "ok") -> Operation:
    """Remove a message."""
    return op("remove", f"m{number}", start, start + 1, result, answer)


def entries(start: float, *found: str) -> Operation:
    """Read a chat, with the texts of corrected messages."""
    return op("read", None, start, start + 1, found)


SAID = [say(0), say(1), say(2)]


@pytest.mark.parametrize(
    "operations",
    [
        [correct(1, "x", 30), entries(40, "m0", "m1=x", "m2"), correct(1, "y", 50), entries(60, "m0", "m1=y", "m2")],
        [remove(1, 30), entries(40, "m0", "m2"), remove(1, 50, False), correct(1, "x", 60, False)],
        [remove(0, 30), remove(2, 32), entries(40, "m1"), say(5), entries(70, "m1", "m5")],
        [correct(1, "x", 30, None, "unknown"), entries(40, "m0", "m1", "m2"), entries(50, "m0", "m1=x", "m2")],
        [remove(1, 30, None, "unknown"), entries(40, "m0", "m1", "m2"), entries(50, "m0", "m2")],
        [remove(1, 30, None, "refused"), entries(40, "m0", "m1", "m2")],
        [op("say", "m9", 31, 32, None, "unknown"), remove(9, 40), entries(50, "m0", "m1", "m2")],
    ],
)
def test_possible_changes_of_messages_are_accepted(operations: list[Operation]) -> None:
    """Edits and removals of messages are accepted if one order of the calls explains their results."""
    assert judge([*SAID, *operations]).findings == []


@pytest.mark.parametrize(
    "operations",
    [
        [correct(1, "x", 30), entries(40, "m0", "m1", "m2")],
        [correct(1, "x", 30), correct(1, "y", 40), entries(50, "m0", "m1=x", "m2")],
        [correct(1, "x", 30, False)],
        [correct(7, "x", 30)],
        [correct(1, "x", 30), entries(40, "m0", "m2", "m1=x")],
        [correct(1, "x", 30, None, "refused"), entries(40, "m0", "m1=x", "m2")],
        [remove(1, 30), remove(1, 40)],
        [remove(1, 30), entries(40, "m0", "m1", "m2")],
        [remove(1, 30), entries(40, "m0", "m2"), entries(50, "m0", "m1", "m2")],
        [remove(1, 30, False), entries(40, "m0", "m1", "m2")],
        [remove(1, 30), entries(40, "m0")],
        [remove(1, 30), correct(1, "x", 40)],
    ],
)
def test_impossible_changes_of_messages_are_found(operations: list[Operation]) -> None:
    """Lost, repeated and misplaced corrections and removals are violations."""
    (finding,) = judge([*SAID, *operations]).findings
    assert RULES["chats"] in finding.rule


def acquire(name: str, start: float, count: int) -> Operation:
    """Acquire a lease."""
    return op("acquire", name, start, start + 1, count)


def hit(start: float, count: int | None, answer: str = "ok") -> Operation:
    """Add a hit."""
    return op("hit", None, start, start + 1, count, answer)


@pytest.mark.parametrize(
    "history",
    [
        [say(1), say(2), read(26, 1, 2)],
        [say(1, "unknown"), say(2), read(26, 2), read(28, 2)],
        [say(1, "unknown"), say(2), read(26, 2), read(28, 2, 1)],
        [say(1, "refused"), say(2), read(26, 2)],
        [*(say(number) for number in range(30)), read(296, *range(10, 30))],
        [say(1), op("clear", None, 20, 21), read(22)],
        [say(1), op("clear", None, 20, 21, None, "unknown"), read(22, 1), read(24)],
        [acquire("a", 0, 1), acquire("b", 2, 2), op("release", "a", 4, 5, 1), op("count", None, 6, 7, 1)],
        [acquire("a", 0, 1), acquire("a", 2, 1), op("count", None, 4, 5, 1)],
        [op("acquire", "a", 0, 9, 2), acquire("b", 2, 2), op("count", None, 4, 5, 2)],
        [hit(0, 1), hit(2, None, "unknown"), hit(4, 2), op("peek", None, 6, 7, 3)],
        [hit(0, 1), hit(2, None, "unknown"), hit(4, 3)],
    ],
    ids=[
        *("added", "unknown, not added", "unknown, added late", "rejected", "trimmed", "cleared", "cleared late"),
        *("leases", "renewed", "a repeated acquisition", "a late hit", "an early hit"),
    ],
)
def test_possible_histories_are_accepted(history: list[Operation]) -> None:
    """A history is accepted if some order of the calls explains it."""
    assert judge(history).findings == []


@pytest.mark.parametrize(
    "history",
    [
        [say(1), say(2), read(26, 2)],
        [say(1), say(2), read(26, 2, 1)],
        [say(1), read(16, 1, 1)],
        [say(1, "refused"), read(16, 1)],
        [say(1), say(2), read(26, 1, 2), read(28, 1)],
        [say(1, "unknown"), read(16, 1), read(18)],
        [say(1), op("clear", None, 20, 21), read(22, 1)],
        [acquire("a", 0, 1), op("count", None, 2, 3, 0)],
        [acquire("a", 0, 1), op("release", "a", 2, 3, 1)],
        [hit(0, 1), hit(2, 1)],
        [hit(0, 1), op("peek", None, 2, 3, 2)],
        [hit(0, None, "refused"), op("peek", None, 2, 3, 1)],
        [hit(0, None, "unknown"), op("peek", None, 2, 3, 2)],
    ],
    ids=[
        *("lost", "reordered", "twice", "rejected, but added", "a stale read", "unknown, then lost", "not cleared"),
        *("a lost lease", "not released", "a lost hit", "counted twice", "rejected, but counted", "unknown, twice"),
    ],
)
def test_impossible_histories_are_rejected(history: list[Operation]) -> None:
    """A history that no order of the calls explains has a finding on its key."""
    (finding,) = judge(history).findings
    assert finding.key == "K"


def test_a_finding_contains_only_results_that_contradict() -> None:
    """Of thirty calls, only the ones that cannot all be true are claims, with the writes that they mention."""
    hits = [hit(2 * number, number + 1) for number in range(30)]
    wrong = op("peek", None, 61, 62, 4)
    (finding,) = judge([*hits, wrong]).findings
    assert [one.kind for one in finding.claims] == ["hit", "peek"]
    lost = [say(number) for number in range(8)]
    (finding,) = judge([*lost, read(90, 0, 1, 2, 3, 4, 6, 7)]).findings
    assert [describe(one) for one in finding.claims] == ["c say m5: returned", "c read: [m0, m1, m2, m3, m4, m6, m7]"]
    assert {one.value for one in finding.context} == {f"m{number}" for number in (0, 1, 2, 3, 4, 6, 7)}


def test_a_rejected_write_that_happened_is_named() -> None:
    """The rule about truthful errors is named if a rejected call is among the contradicting results."""
    (finding,) = judge([say(1, "refused"), read(16, 1)]).findings
    assert TRUTHFUL_ERRORS in finding.rule
    (finding,) = judge([say(1), read(16, 1, 1)]).findings
    assert finding.rule == RULES["chats"]


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (op("get", None, 0, 1, View(2, "a", ("a", "b"), 3, "u")), "c get: rev 2, users a, b, position 3, url u"),
        (op("join", "a", 0, 1, None, "not found"), "c join a: RoomNotFoundError"),
        (op("create", "a", 0, 1, None, "exists"), "c create a: RoomExistsError"),
        (op("create", "a", 0, 1, None, "unknown"), "c create a: outcome unknown"),
        (op("clear", None, 0, 1, None, "refused"), "c clear: raised an error, so it must not have happened"),
    ],
)
def test_operations_are_described(operation: Operation, words: str) -> None:
    """A line of a history states the caller, the call and its outcome."""
    assert describe(operation) == words
