"""Rounds of concurrent calls under faults, chosen by a seed: the run behind `wnc-store verify --faults`."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from wnc_store import ConfigurationError
from wnc_store_contract.clause import PATIENCE, TIME_LIMIT, ContractContext
from wnc_store_contract.faults.history import Operation, View
from wnc_store_contract.faults.judge import Finding, judge
from wnc_store_contract.faults.worker import SETTINGS, Worker
from wnc_store_contract.harness import Capability, Harness

_OPERATIONS = 150
"""Calls of a round. Each round uses new keys, so that a search of an order stays short."""

_FAULT_CHANCE = 0.08
"""The chance of a fault per call."""

_RESTART_CHANCE = 0.1
"""The chance that a fault is a restart, if the harness declares it."""

_KEYS = {
    "rooms": ("rooms", 2, "get", None),
    "chats": ("chat", 1, "read", Capability.CHAT),
    "connections": ("connections", 1, "count", Capability.CONNECTIONS),
    "limits": ("limit", 1, "peek", Capability.RATE_LIMITS),
}
"""Per type of key: the name, the number, the reading operation, and the required capability."""

ERRORS = "a call raises only the errors that its documentation names"
RECOVERY = "after a fault, the store reconnects and serves calls again"


@dataclass(frozen=True, slots=True)
class Violation:
    """A violated rule.

    Attributes:
        rule: the rule.
        key: the key, or "" if the violation concerns no single key.
        history: one line for each operation and fault. The results of the operations with a `*` cannot all be true,
            whatever the other calls did.
    """

    rule: str
    key: str
    history: Sequence[str]


@dataclass(slots=True)
class FaultReport:
    """The result of a run.

    Attributes:
        seed: the seed, which chooses the operations and the faults.
        operations: the number of calls.
        refused: the number of calls whose error means that they did not happen.
        unknown: the number of calls with an unknown outcome.
        faults: the number of disconnections and restarts.
        undecided: the number of keys whose history was too complex to check.
        violations: the violations of the last round, after which a run with violations ends.
    """

    seed: int
    operations: int = 0
    refused: int = 0
    unknown: int = 0
    faults: int = 0
    undecided: int = 0
    violations: list[Violation] = field(default_factory=list[Violation])

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FaultReport:
        """Return the report that `to_json` described."""
        report = cls(**values)
        report.violations = [Violation(**one) for one in values["violations"]]
        return report


def ensure_disconnects(harness: Harness) -> None:
    """Check that a harness can cause faults.

    Raises:
        ConfigurationError: It does not declare `Capability.DISCONNECT`.
    """
    if Capability.DISCONNECT not in harness.capabilities:
        message = (
            f"faults require Capability.DISCONNECT, which {type(harness).__name__} does not declare: declare it and "
            "implement disconnect(), or verify without --faults"
        )
        raise ConfigurationError(message)


async def run_faults(
    harness: Harness,
    seed: int,
    *,
    seconds: float = math.inf,
    operations: float = math.inf,
    on_round: Callable[[FaultReport], None] = lambda _: None,
) -> FaultReport:
    """Run rounds until a violation is found or a limit is reached.

    Args:
        harness: the harness. The run does not close it.
        seed: chooses the operations and the faults. Their timing depends on the backend.
        seconds: the time after which no further round starts.
        operations: the number of calls.
        on_round: called after each round.

    Raises:
        ConfigurationError: The harness does not declare `Capability.DISCONNECT`.
    """
    ensure_disconnects(harness)
    report, number, loop = FaultReport(seed), 0, asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not report.violations and report.operations < operations and loop.time() < deadline:
        number += 1
        await _Round(harness, report, number).run(min(_OPERATIONS, operations - report.operations))
        on_round(report)
    return report


class _Round:
    """Concurrent calls to new keys, faults, and final reads."""

    def __init__(self, harness: Harness, report: FaultReport, number: int) -> None:
        self._harness = harness
        self._report = report
        self._name = f"{report.seed}-{number}"
        self._chance = random.Random(self._name)  # noqa: S311 - repeatable
        self._faults: list[tuple[int, str]] = []
        self._injecting: asyncio.Task[None] | None = None
        self._limit = asyncio.timeout(None)

    async def run(self, operations: float) -> None:
        """Run the round and add its results to the report."""
        capabilities = self._harness.capabilities
        keys = {
            group: [f"faults-{self._name}-{name}-{key}" for key in range(1, count + 1)]
            for group, (name, count, _, needed) in _KEYS.items()
            if needed is None or needed in capabilities
        }
        clients = 2 if Capability.SHARED in capabilities else 1
        async with AsyncExitStack() as stack:
            context = ContractContext(self._harness, stack)
            settings = SETTINGS.model_dump(exclude_unset=True)
            stores = [await context.open(**settings) for _ in range(clients)]
            worker = Worker(stores, "w", self._name, keys)
            problems: list[Violation] = []
            try:
                async with asyncio.timeout(TIME_LIMIT) as self._limit:
                    await worker.work(operations, self._inject_sometimes)
                    if self._injecting is not None:
                        await self._injecting
                    await self._inject()  # what is only in a client's memory must not be what the last reads see
                    if clients > 1:
                        stores.append(await context.open(**settings))
                    for number, store in enumerate(stores):
                        for group, mine in keys.items():
                            for key in mine:
                                problems += await self._read(worker, store, f"last.{number}", group, key)
            except TimeoutError:
                if self._injecting is not None:
                    self._injecting.cancel()
                problems.append(Violation(RECOVERY, "", [f"calls were still running {TIME_LIMIT} s after their start"]))
        self._add(worker, problems)

    async def _inject_sometimes(self) -> None:
        """Cause a fault during the next calls, if none is being caused."""
        if self._injecting is not None and (not self._injecting.done() or self._injecting.exception()):
            return
        if self._chance.random() < _FAULT_CHANCE:
            self._injecting = asyncio.create_task(self._inject())

    async def _inject(self) -> None:
        await asyncio.sleep(self._chance.random() * 0.003)
        if Capability.RESTART in self._harness.capabilities and self._chance.random() < _RESTART_CHANCE:
            fault, cause = "restart", self._restart
        else:
            fault, cause = "disconnect", self._harness.disconnect
        self._faults.append((time.monotonic_ns(), fault))
        await cause()

    async def _restart(self) -> None:
        """Restart the server. The time that it takes does not count towards the limit of the round."""
        loop, limit = asyncio.get_running_loop(), self._limit.when()
        if limit is None or self._limit.expired():
            return
        start = loop.time()
        self._limit.reschedule(None)
        try:
            await self._harness.restart()
        finally:
            self._limit.reschedule(limit + loop.time() - start)

    async def _read(self, worker: Worker, store: Any, client: str, group: str, key: str) -> list[Violation]:
        """Read a key, again if the store has not reconnected yet."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline:
            operation = await worker.call(store, client, _KEYS[group][2], key)
            if operation.answer == "ok":
                return []
            await asyncio.sleep(0.05)
        return [Violation(RECOVERY, key, [f"{client} {_KEYS[group][2]} failed for {PATIENCE} s after the last fault"])]

    def _add(self, worker: Worker, problems: Sequence[Violation]) -> None:
        judgement = judge(worker.history)
        report = self._report
        report.operations += len(worker.history)
        report.refused += sum(one.answer == "refused" for one in worker.history)
        report.unknown += sum(one.answer == "unknown" for one in worker.history)
        report.faults += len(self._faults)
        report.undecided += judgement.undecided
        report.violations += [Violation(ERRORS, "", [error]) for error in dict.fromkeys(worker.errors)]
        report.violations += [
            Violation(finding.rule, finding.key, self._lines(finding)) for finding in judgement.findings
        ]
        report.violations += problems

    def _lines(self, finding: Finding) -> list[str]:
        """Describe the operations of a violation, and the faults between the first and the last one."""
        shown = [*((one, "* ") for one in finding.claims), *((one, "  ") for one in finding.context)]
        first = min(one.start for one, _ in shown)
        last = max(one.end for one, _ in shown)
        events = [
            (one.start, f"{mark}{_ms(one.start - first)} to {_ms(one.end - first)}: {describe(one)}")
            for one, mark in shown
        ]
        events += [(at, f"  {_ms(at - first)}: {fault}") for at, fault in self._faults if first <= at <= last]
        return [line for _, line in sorted(events)]


def describe(operation: Operation) -> str:
    """Return a call and its outcome in words."""
    value = f" {operation.value:g}" if isinstance(operation.value, float) else f" {operation.value or ''}".rstrip()
    result = operation.result
    match operation.answer:
        case "refused":
            outcome = "raised an error, so it must not have happened"
        case "unknown":
            outcome = "outcome unknown"
        case "not found":
            outcome = "RoomNotFoundError"
        case "exists":
            outcome = "RoomExistsError"
        case "ok" if isinstance(result, View):
            users = ", ".join(result.users)
            outcome = f"rev {result.rev}, users {users}, position {result.position:g}, url {result.url}"
        case "ok" if isinstance(result, tuple):
            outcome = f"[{', '.join(map(str, result))}]"
        case "ok":
            outcome = "returned" if result is None else str(result)
    return f"{operation.client} {operation.kind}{value}: {outcome}"


def _ms(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e6:.1f} ms"
