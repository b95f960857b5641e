"""The contract run on a backend chosen at run time, with a report: the core of `wnc-store verify`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from typing import Any, Literal

from pydantic import JsonValue

from wnc_store import ConfigurationError, __version__
from wnc_store_contract import StoreContract
from wnc_store_contract._process import ERRORS, Request
from wnc_store_contract.clause import Clause, clauses_of
from wnc_store_contract.clauses.harness import HarnessClauses
from wnc_store_contract.faults.run import FaultReport

CLAUSES = clauses_of(StoreContract)

Outcome = Literal["passed", "failed", "skipped"]


class Conformance(StrEnum):
    """The extent to which a backend satisfies the contract."""

    FULL = "full"
    """Every clause ran and passed."""

    PARTIAL = "partial"
    """No clause failed, but some were skipped. The report contains the reasons."""

    SELECTED = "selected"
    """Nothing failed, but only selected clauses, or only the faults, ran."""

    NONE = "none"
    """A clause failed, a rule was violated under faults, nothing ran, or the run did not end."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one clause; `detail` is the reason why it did not pass."""

    clause: Clause
    outcome: Outcome
    detail: str
    seconds: float

    @property
    def reason(self) -> str:
        """The first line of the detail, and the steps if the state machine failed."""
        first = self.detail.partition("\n")[0]
        # Hypothesis lists the steps before an error of the harness, and the state machine those before a wrong result.
        steps = re.search(r"\n(state = StoreMachine\(\)|after these steps:).*", self.detail, re.DOTALL)
        return f"{first}{steps[0] if steps else ''}"


@dataclass(slots=True)
class Report:
    """The results of a run.

    Attributes:
        target: The name of the backend.
        selected: The clauses that must have a result.
        results: The results.
        crash: Why the run did not end, or "".
        faults: The result of the run under faults, or None.
    """

    target: str
    selected: Sequence[Clause]
    results: list[Result] = field(default_factory=list[Result])
    crash: str = ""
    faults: FaultReport | None = None

    @property
    def problem(self) -> str:
        """Why the results do not describe the backend: the run did not end, or the harness is wrong. Otherwise ""."""
        if self.crash:
            return self.crash
        about_harness = clauses_of(HarnessClauses)
        wrong = [
            result.clause.name
            for result in self.results
            if result.outcome == "failed" and result.clause.name in about_harness
        ]
        return f"the other results depend on {', '.join(wrong)}: correct this first" if wrong else ""

    @property
    def level(self) -> Conformance:
        """The extent to which the backend satisfies the contract."""
        outcomes = {result.outcome for result in self.results}
        has_run = "passed" in outcomes or (self.faults is not None and not self.selected)
        is_violated = "failed" in outcomes or (self.faults is not None and self.faults.violations)
        if self.crash or is_violated or not has_run or len(self.results) != len(self.selected):
            return Conformance.NONE
        if len(self.selected) < len(CLAUSES):
            return Conformance.SELECTED
        return Conformance.FULL if outcomes == {"passed"} else Conformance.PARTIAL

    def count(self, outcome: Outcome) -> int:
        """Return the number of clauses with an outcome."""
        return sum(result.outcome == outcome for result in self.results)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON values."""
        return {
            "target": self.target,
            "suite": __version__,
            "level": self.level.value,
            "problem": self.problem or None,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "faults": None if self.faults is None else self.faults.to_json(),
            "clauses": [
                {
                    "name": result.clause.name,
                    "rule": result.clause.rule,
                    "outcome": result.outcome,
                    "detail": result.detail,
                    "seconds": round(result.seconds, 4),
                }
                for result in self.results
            ],
        }


def find_harness(url: str) -> str:
    """Return the value of the entry point, in the group `wnc_store.harnesses`, of the harness for a URL.

    Raises:
        ConfigurationError: No harness for the scheme is installed.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    installed = {entry.name: entry for entry in entry_points(group="wnc_store.harnesses")}
    if scheme not in installed:
        known = ", ".join(f"{name}://" for name in sorted(installed))
        problem = (
            f"no harness for {scheme}:// is installed" if scheme else "a store URL must start with a scheme and ://"
        )
        message = f"{problem}; installed: {known}. Use one of them, or pass a harness class with --harness"
        raise ConfigurationError(message)
    return installed[scheme].value


def select_clauses(patterns: Sequence[str]) -> list[Clause]:
    """Return the clauses whose name or rule contains one of the patterns, in the order of the suite; all without any.

    Patterns ignore case and may contain the wildcards `*`, `?` and `[...]`.

    Raises:
        ConfigurationError: No clause matches.
    """
    wanted = [f"*{pattern.lower()}*" for pattern in patterns]

    def matches(clause: Clause) -> bool:
        return any(fnmatchcase(text.lower(), pattern) for pattern in wanted for text in (clause.name, clause.rule))

    selected = [clause for clause in CLAUSES.values() if not wanted or matches(clause)]
    if not selected:
        message = f"no clause matches {' or '.join(map(repr, patterns))}"
        raise ConfigurationError(message)
    return selected


def verify(
    request: Request,
    target: str,
    selected: Sequence[Clause],
    *,
    on_result: Callable[[Result], None],
    on_progress: Callable[[int, int], None],
) -> Report:
    """Run clauses, and calls under faults, in another process, so that a backend can end or damage only that process.

    Args:
        request: The harness, and options of the run.
        target: The name of the backend in the report.
        selected: The clauses of the request.
        on_result: Called with each result.
        on_progress: Called with the numbers of operations and faults so far.

    Raises:
        StoreError: The harness is not usable.
        ImportError: A package that the harness requires is missing.
        KeyboardInterrupt: The run was interrupted and is not reported.
    """
    environment = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PYTEST_PLUGINS": "",
        "PYTHONOPTIMIZE": "",  # would remove assertions
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from wnc_store_contract._process import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | environment,
        start_new_session=True,  # Ctrl-C reaches only this process, which interrupts the other one once
    )
    assert process.stdin is not None
    assert process.stdout is not None
    report = Report(target, selected)
    reader = _Reader(report, on_result, on_progress)
    try:
        with _interrupting(process):
            with suppress(BrokenPipeError), process.stdin as stdin:
                stdin.write(request.to_json())
            reader.read(process.stdout)
            code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    if reader.error:
        raise reader.error
    missing = len(selected) - len(report.results)
    has_stopped = request.fail_fast and report.count("failed")
    if not has_stopped and not missing and request.faults is not None and report.faults is None:
        report.crash = report.crash or f"the process ended with exit code {code} while it ran calls under faults"
    elif not reader.ended or (missing and not has_stopped):
        during = f"during {reader.running.name}" if reader.running else "before the first clause"
        report.crash = (
            f"the process that ran the clauses ended with exit code {code} {during}; results of {missing} of "
            f"{len(selected)} clauses are missing"
        )
    return report


@contextmanager
def _interrupting(process: subprocess.Popen[str]) -> Generator[None]:
    """Pass Ctrl-C on to a process, and raise KeyboardInterrupt at the end of the block, or at a second Ctrl-C.

    An exception in the middle of the block could discard results that were already read from the pipe.
    """
    is_interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal is_interrupted
        if is_interrupted:
            raise KeyboardInterrupt
        is_interrupted = True
        if sys.platform != "win32":  # where Ctrl-C reaches both processes
            process.send_signal(signal.SIGINT)

    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if is_interrupted:
        raise KeyboardInterrupt


class _Reader:
    """Reads what the process of the clauses reports, until the process ends.

    Attributes:
        running: The clause that has started and not ended.
        error: Why the harness is not usable.
        ended: Whether the process has reported that it reached its end.
    """

    def __init__(
        self, report: Report, on_result: Callable[[Result], None], on_progress: Callable[[int, int], None]
    ) -> None:
        self.running: Clause | None = None
        self.error: Exception | None = None
        self.ended = False
        self._report = report
        self._on_result = on_result
        self._on_progress = on_progress

    def read(self, lines: Iterable[str]) -> None:
        """Add the results to the report."""
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            match event.pop("event"):
                case "start":
                    self.running = CLAUSES[event["name"]]
                case "result":
                    result = Result(CLAUSES[event.pop("name")], **event)
                    self.running = None
                    self._report.results.append(result)
                    self._on_result(result)
                case "progress":
                    self._on_progress(event["operations"], event["faults"])
                case "faults":
                    self._report.faults = FaultReport.from_json(event["report"])
                case "crash":
                    self._report.crash = event["message"]
                case "error":
                    self.error = ERRORS[event["kind"]](event["message"])
                case _:
                    self.ended = True
