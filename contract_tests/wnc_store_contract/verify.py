"""The contract run on a backend chosen at run time, with a report: the core of `wnc-store verify`."""

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

_ENTRY_POINT_GROUP = "wnc_store.harnesses"

_REWRITTEN_MODULES = ("wnc_store_contract.clauses", "wnc_store_contract.statemachine")

_REWRITE_NAME = "@pytest_ar"
"""A name that pytest adds to each module whose assertions it has rewritten."""

Outcome = Literal["passed", "failed", "skipped", "xfailed"]


class Conformance(StrEnum):
    """The extent to which a backend satisfies the contract."""

    FULL = "full"
    """Every clause ran and passed."""

    PARTIAL = "partial"
    """No clause failed, but some were skipped or marked xfail. The report contains the reasons."""

    NONE = "none"
    """A clause failed, or no clause ran."""


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
        first, _, rest = self.detail.partition("\n")
        _, begin, steps = rest.partition("\nstate = StoreMachine()")
        return f"{first}{begin}{steps}"


@dataclass(frozen=True, slots=True)
class Report:
    """The results of a run; `clauses` are the names of all collected clauses."""

    target: str
    results: list[Result] = field(default_factory=list[Result])
    clauses: list[str] = field(default_factory=list[str])

    @property
    def level(self) -> Conformance:
        """The extent to which the backend satisfies the contract."""
        outcomes = {result.outcome for result in self.results}
        if "failed" in outcomes or "passed" not in outcomes or len(self.results) < len(self.clauses):
            return Conformance.NONE
        return Conformance.FULL if outcomes == {"passed"} else Conformance.PARTIAL

    def count(self, outcome: Outcome) -> int:
        """Return the number of clauses with an outcome."""
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
    """Return a factory of harnesses for a URL, found by the entry points of the group `wnc_store.harnesses`.

    Raises:
        ConfigurationError: No harness for the scheme is installed, or its entry point cannot be loaded.
        ImportError: A package that the harness requires is missing.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    installed = {entry.name: entry for entry in entry_points(group=_ENTRY_POINT_GROUP)}
    if scheme not in installed:
        known = ", ".join(f"{name}://" for name in sorted(installed))
        problem = (
            f"no harness for {scheme}:// is installed" if scheme else "a store URL must start with a scheme and ://"
        )
        message = f"{problem}; installed: {known}. Use one of them, or pass a harness class with --harness"
        raise ConfigurationError(message)
    make = cast("Callable[[str], Harness]", load_entry(installed[scheme], "harness"))
    return lambda: _make(lambda: make(url), f"for {scheme}://", secret=url)


def harness_by_name(name: str) -> Callable[[], Harness]:
    """Return the harness class of `package.module:Class`. Modules in the working directory are importable.

    Raises:
        ConfigurationError: The class does not exist, is not a complete subclass of Harness, or requires arguments.
    """
    module, _, attribute = name.partition(":")
    with patch.object(sys, "path", [str(Path.cwd()), *sys.path]):
        try:
            harness: Any = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            message = f"harness {name!r} not found ({error}); expected package.module:Class"
            raise ConfigurationError(message) from error
    if not (isinstance(harness, type) and issubclass(harness, Harness)):
        message = f"{name!r} must be a subclass of wnc_store_contract.Harness"
        raise ConfigurationError(message)
    try:
        inspect.signature(harness).bind()
    except TypeError as error:
        message = f"harness {name!r} must be callable without arguments: {error}"
        raise ConfigurationError(message) from error
    missing = ", ".join(sorted(getattr(harness, "__abstractmethods__", ())))
    if missing:
        message = f"harness {name!r} must implement {missing}"
        raise ConfigurationError(message)
    return lambda: _make(harness, repr(name))


def _make(make: Callable[[], Harness], name: str, *, secret: str = "") -> Harness:
    """Make a harness.

    Raises:
        ConfigurationError: The factory raised. The message contains its error without `secret`, which may be a URL.
    """
    try:
        return make()
    except (StoreError, ImportError):  # their messages are clear already
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        message = f"making the harness {name} failed: {cause.replace(secret, 'the URL') if secret else cause}"
        raise ConfigurationError(message) from error


def ensure_usable(make_harness: Callable[[], Harness], *, allow_nonempty: bool = False) -> None:
    """Check that a harness opens stores and that its storage location is empty.

    Args:
        make_harness: Makes the harness.
        allow_nonempty: Accept a storage location that contains data.

    Raises:
        ConfigurationError: The harness does not open a store, or the storage location contains data.
    """

    async def check() -> str | None:
        harness = make_harness()
        await _ensure_store(harness)
        existing = await harness.describe_existing_data()
        await harness.aclose()  # not called if the server is unreachable: nothing was written
        return existing

    existing = asyncio.run(check())
    if existing and not allow_nonempty:
        message = f"{existing}. Use an empty one or pass --allow-nonempty; verify changes only its own keys"
        raise ConfigurationError(message)


async def _ensure_store(harness: Harness) -> None:
    """Open a store without connecting, and close it."""
    store = harness.open_store()
    if hasattr(store, "rooms"):
        await store.aclose()
        return
    if inspect.iscoroutine(store):
        store.close()
        returned = "a coroutine: define it without async"
    else:
        returned = repr(store)
    message = f"{type(harness).__name__}.open_store must return a store, but returned {returned}"
    raise ConfigurationError(message)


def verify(
    make_harness: Callable[[], Harness],
    target: str,
    *,
    on_start: Callable[[int], None],
    on_result: Callable[[Result], None],
) -> Report:
    """Run the contract with pytest, ignoring the configuration, plugins and conftest files of the working directory.

    Args:
        make_harness: Makes a new harness for each clause.
        target: The name of the backend in the report.
        on_start: Called with the number of clauses.
        on_result: Called with each result.

    Raises:
        KeyboardInterrupt: The run was interrupted, so there is no report.
    """
    report = Report(target)
    token = chosen_harness.set(make_harness)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pytest.ini"
        config.write_text("[pytest]\n")
        environment = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
            "PYTEST_PLUGINS": "",
            "HYPOTHESIS_STORAGE_DIRECTORY": folder,
        }
        arguments = ["-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-c", str(config)]
        _unload_unrewritten_clauses()
        with patch.dict(os.environ, environment):
            exit_code = pytest.main(
                [*arguments, "--pyargs", "wnc_store_contract._verified"],
                plugins=[_Recorder(report, on_start, on_result)],
            )
    chosen_harness.reset(token)
    if exit_code is pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    return report


def _unload_unrewritten_clauses() -> None:
    """Unload the clauses if a harness's module imported them before pytest could rewrite their assertions.

    Without the rewriting, failed assertions would not show the compared values.
    """
    clauses = [name for name in sys.modules if name.startswith(_REWRITTEN_MODULES)]
    if not all(hasattr(sys.modules[name], _REWRITE_NAME) for name in clauses):
        for name in (*clauses, "wnc_store_contract.contract", "wnc_store_contract._verified"):
            sys.modules.pop(name, None)


class _Recorder:
    """A pytest plugin that collects the results."""

    def __init__(self, report: Report, on_start: Callable[[int], None], on_result: Callable[[Result], None]) -> None:
        self._report = report
        self._on_start = on_start
        self._on_result = on_result
        self._clauses: dict[str, Clause] = {}

    def pytest_configure(self) -> None:
        """Register the clauses for assertion rewriting, which pytest supports only from this hook on."""
        pytest.register_assert_rewrite(*_REWRITTEN_MODULES)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Collect the clauses."""
        for item in session.items:
            self._clauses |= clauses_of(cast("pytest.Function", item).cls or object)
        self._report.clauses.extend(self._clauses)
        self._on_start(len(self._clauses))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the result of a clause: of its setup if that failed or skipped, otherwise of its call."""
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
