"""The contract on a backend that is named at run time, with a report: what `wnc-store verify` does."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, cast
from unittest.mock import patch

import pytest
from pydantic import JsonValue

from wnc_store import ConfigurationError, StoreError
from wnc_store.factory import load_entry
from wnc_store_contract.clause import Clause, clauses_of
from wnc_store_contract.harness import Harness, chosen_harness

_GROUP = "wnc_store.harnesses"

_REWRITTEN = ("wnc_store_contract.clauses", "wnc_store_contract.statemachine")

_MARK_OF_THE_REWRITTEN = "@pytest_ar"
"""The name under which a module whose assertions pytest has rewritten holds what they call."""

Outcome = Literal["passed", "failed", "skipped", "xfailed"]


class Conformance(StrEnum):
    """How much of the contract a backend keeps."""

    FULL = "full"
    """Every clause ran and passed."""

    PARTIAL = "partial"
    """Every clause that ran passed; some did not run, or are marked xfail, and the report says why."""

    NONE = "none"
    """A clause failed, or none ran."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one clause; `detail` says why it did not pass."""

    clause: Clause
    outcome: Outcome
    detail: str
    seconds: float

    @property
    def reason(self) -> str:
        """The first line of the detail, where it failed and what was compared; for any sequence its steps, too."""
        first, _, rest = self.detail.partition("\n")
        _, begin, steps = rest.partition("\nstate = StoreMachine()")
        return f"{first}{begin}{steps}"


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the contract; `clauses` are the names of all of them."""

    target: str
    results: list[Result] = field(default_factory=list[Result])
    clauses: list[str] = field(default_factory=list[str])

    @property
    def level(self) -> Conformance:
        """How much of the contract was kept."""
        outcomes = {result.outcome for result in self.results}
        if "failed" in outcomes or "passed" not in outcomes or len(self.results) < len(self.clauses):
            return Conformance.NONE
        return Conformance.FULL if outcomes == {"passed"} else Conformance.PARTIAL

    def count(self, outcome: Outcome) -> int:
        """Return how many clauses ended so."""
        return sum(result.outcome == outcome for result in self.results)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON values."""
        return {
            "target": self.target,
            "level": self.level.value,
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "skipped": self.count("skipped"),
            "xfailed": self.count("xfailed"),
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


def harness_for_url(url: str) -> Callable[[], Harness]:
    """Return what makes harnesses for a URL, by the entry points of the group `wnc_store.harnesses`.

    Raises:
        ConfigurationError: no harness for that scheme is installed, or its entry point names what is not there.
        ImportError: a package that it needs is missing.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    installed = {entry.name: entry for entry in entry_points(group=_GROUP)}
    if scheme not in installed:
        known = ", ".join(f"{name}://" for name in sorted(installed))
        problem = f"no harness for {scheme}:// is installed" if scheme else "a store URL begins with its scheme and ://"
        message = f"{problem}; installed: {known}. Or name a harness class with --harness"
        raise ConfigurationError(message)
    make = cast("Callable[[str], Harness]", load_entry(installed[scheme], "harness"))
    return lambda: _made(lambda: make(url), f"for {scheme}://", secret=url)


def harness_by_name(name: str) -> Callable[[], Harness]:
    """Return the harness class that `package.module:Class` names; modules in the working directory count.

    Raises:
        ConfigurationError: there is no such class, it is no Harness, or it can't be made without arguments.
    """
    module, _, attribute = name.partition(":")
    with patch.object(sys, "path", [str(Path.cwd()), *sys.path]):
        try:
            found: Any = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            message = f"there is no harness {name!r} ({error}); name it as package.module:Class"
            raise ConfigurationError(message) from error
    if not (isinstance(found, type) and issubclass(found, Harness)):
        message = f"{name!r} is no subclass of wnc_store_contract.Harness"
        raise ConfigurationError(message)
    try:
        inspect.signature(found).bind()
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    except TypeError as error:
        missing = str(error)
    if missing:
        message = f"the harness {name!r} can't be made without arguments: {missing}"
        raise ConfigurationError(message)
    return lambda: _made(found, repr(name))


def _made(make: Callable[[], Harness], name: str, *, secret: str = "") -> Harness:
    """Make a harness.

    Raises:
        ConfigurationError: it can't be made. What was raised is told, but no secret, as a URL may be.
    """
    try:
        return make()
    except (StoreError, ImportError):  # which say what is wrong
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        message = f"the harness {name} can't be made: {told.replace(secret, 'the URL') if secret else told}"
        raise ConfigurationError(message) from error


def ensure_usable(make_harness: Callable[[], Harness], *, allow_nonempty: bool = False) -> None:
    """Return if a harness gives stores, and nobody else's data is where it puts its own, or that is allowed.

    Raises:
        ConfigurationError: it gives no store, or something is there.
    """

    async def look() -> str | None:
        harness = make_harness()
        await _ensure_store(harness)
        found = await harness.describe_existing_data()
        await harness.aclose()  # not reached where the place can't be: then there is nothing to remove
        return found

    found = asyncio.run(look())
    if found and not allow_nonempty:
        message = f"{found}. Choose an empty one, or allow it (--allow-nonempty): nothing but its own keys is touched"
        raise ConfigurationError(message)


async def _ensure_store(harness: Harness) -> None:
    """Open a store, which connects to nothing yet, and close it."""
    store = harness.open_store()
    if hasattr(store, "rooms"):
        await store.aclose()
        return
    if inspect.iscoroutine(store):
        store.close()
        found = "a coroutine: define it without async"
    else:
        found = repr(store)
    message = f"{type(harness).__name__}.open_store must return a store, and returned {found}"
    raise ConfigurationError(message)


def verify(
    make_harness: Callable[[], Harness],
    target: str,
    *,
    on_start: Callable[[int], None],
    on_result: Callable[[Result], None],
) -> Report:
    """Run the contract with pytest, apart from the configuration, plugins and conftest files of where it is run.

    Args:
        make_harness: makes a new harness for each clause.
        target: what is verified, for the report.
        on_start: told how many clauses there are.
        on_result: told each result as it comes.

    Raises:
        KeyboardInterrupt: it was interrupted, and says nothing of the backend.
    """
    report = Report(target)
    token = chosen_harness.set(make_harness)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pytest.ini"
        config.write_text("[pytest]\n")
        alone = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "PYTEST_PLUGINS": "",
            "HYPOTHESIS_STORAGE_DIRECTORY": folder,
        }
        arguments = ["-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-c", str(config)]
        _forget_what_shows_no_values()
        with patch.dict(os.environ, alone):
            ended = pytest.main(
                [*arguments, "--pyargs", "wnc_store_contract._verified"],
                plugins=[_Recorder(report, on_start, on_result)],
            )
    chosen_harness.reset(token)
    if ended is pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return report


def _forget_what_shows_no_values() -> None:
    """Have the clauses imported again where a harness's module has imported them too early for pytest to rewrite them.

    Their assertions would fail without a word on what was compared.
    """
    clauses = [name for name in sys.modules if name.startswith(_REWRITTEN)]
    if not all(hasattr(sys.modules[name], _MARK_OF_THE_REWRITTEN) for name in clauses):
        for name in (*clauses, "wnc_store_contract.contract", "wnc_store_contract._verified"):
            sys.modules.pop(name, None)


class _Recorder:
    """A pytest plugin that turns its reports into results."""

    def __init__(self, report: Report, on_start: Callable[[int], None], on_result: Callable[[Result], None]) -> None:
        self._report = report
        self._on_start = on_start
        self._on_result = on_result
        self._clauses: dict[str, Clause] = {}

    def pytest_configure(self) -> None:
        """Have the clauses' assertions rewritten: only from here on is anybody there to do it."""
        pytest.register_assert_rewrite(*_REWRITTEN)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn the clauses."""
        for item in session.items:
            self._clauses |= clauses_of(cast("pytest.Function", item).cls or object)
        self._report.clauses.extend(self._clauses)
        self._on_start(len(self._clauses))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the first word on a clause: its setup if that failed, else its call."""
        if report.when == "call" or (report.when == "setup" and not report.passed):
            clause = self._clauses[report.location[2].rpartition(".")[2]]
            result = Result(clause, _outcome(report), _detail(report), report.duration)
            self._report.results.append(result)
            self._on_result(result)


def _outcome(report: pytest.TestReport) -> Outcome:
    return "xfailed" if report.skipped and hasattr(report, "wasxfail") else report.outcome


def _detail(report: pytest.TestReport) -> str:
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return f"{Path(crash.path).name}:{crash.lineno}: {crash.message}" if crash else str(report.longrepr)
