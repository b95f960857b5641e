"""The guard of a contract: no clause may be changed, skipped, deselected, or reported otherwise than it ended.

A metaclass checks the classes. The pytest plugin that it registers checks the session.
"""

from __future__ import annotations

import inspect
import sys
from abc import ABCMeta
from collections.abc import Generator
from typing import Any, cast

import pytest

from wnc_store_contract.clause import clauses_of, outcomes
from wnc_store_contract.explain import explain_comparison, running

_PLUGIN = "wnc_store_contract.guard"

_SELECTIONS = ("-k", "-m", "--deselect", "--lf", "--last-failed", "--sw", "--stepwise")
"""Options that select tests. They count only on the command line, where the user sees them."""


class ContractMeta(ABCMeta):
    """Metaclass that rejects contracts that override, remove, mark or skip clauses.

    It checks a contract when the class is created, and when an attribute is set or deleted, as class decorators do.
    """

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        cls._check()
        _register_plugin()

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "pytestmark" or name in clauses_of(cls):
            cls._check()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        cls._check()

    def _check(cls) -> None:
        suite = next((base for base in reversed(cls.__mro__) if type(base) is ContractMeta), cls)
        if cls is not suite:
            check_clauses(cls, suite)


def check_clauses(contract: type, suite: type) -> None:
    """Check that each clause of the suite is inherited unchanged or overridden with a strict `xfail` and a reason.

    Raises:
        TypeError: The contract overrides or removes a clause, adds a marker to one, or skips or xfails all of them; or
            Python runs with -O, which removes assertions.
    """
    if not __debug__:
        message = f"{contract.__qualname__} cannot run with python -O or PYTHONOPTIMIZE, which remove assertions"
        raise TypeError(message)
    for name in clauses_of(suite):
        member, original = inspect.getattr_static(contract, name, None), inspect.getattr_static(suite, name)
        # All contracts share the function of an inherited clause, so a marker on it would change every contract.
        if _marks(member) if member is original else not _is_xfail(member):
            message = (
                f"{contract.__qualname__} must not override, mark or remove the contract's {name}. If the backend does "
                "not satisfy it yet, override it with a method that is marked "
                "@pytest.mark.xfail(reason='...', strict=True) and calls the overridden clause"
            )
            raise TypeError(message)
    if any(mark.name in {"skip", "skipif", "xfail"} for mark in _marks(contract)):
        message = f"{contract.__qualname__} must not skip or xfail the whole contract; mark single clauses as xfail"
        raise TypeError(message)


def _is_xfail(member: object) -> bool:
    return any(
        mark.name == "xfail" and not mark.args and mark.kwargs.get("reason") and mark.kwargs.get("strict") is True
        for mark in _marks(member)
    )


def _marks(item: object) -> list[pytest.Mark]:
    marks = getattr(item, "pytestmark", [])
    as_list = cast("list[Any]", marks if isinstance(marks, list) else [marks])
    return [getattr(mark, "mark", mark) for mark in as_list]


def _register_plugin() -> None:
    """Register the plugin in the pytest session that imports the contract, if there is one."""
    # A module can find its session only through the import hook of pytest; pytest.register_assert_rewrite does the
    # same. The hook of a session that runs inside another one comes first.
    for hook in sys.meta_path:
        config = getattr(hook, "config", None)
        if isinstance(config, pytest.Config):
            if not config.pluginmanager.has_plugin(_PLUGIN):
                config.pluginmanager.register(_Guard(config), _PLUGIN)
            return


class _Guard:
    """The pytest plugin. Its hooks are outside those of other plugins and conftest files."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._contracts: list[ContractMeta] = []
        self._selected: set[str] = set()
        self._reported: set[str] = set()
        self._missing = 0
        self._problem = ""
        self._worker_input: dict[str, Any] = getattr(config, "workerinput", {})  # of a worker of pytest-xdist

    @pytest.hookimpl(wrapper=True)
    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> Generator[None, Any, Any]:
        """Explain a failed comparison of a clause as a sentence, followed by the details of pytest."""
        explanations: list[list[str]] = yield
        if not running.get():
            return explanations
        details = list(explanations[0])[1:] if explanations else []
        return [[explain_comparison(op, left, right), *details]]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        """Record each contract that is collected."""
        report = yield
        if isinstance(collector, pytest.Class) and isinstance(collector.obj, ContractMeta):
            self._contracts.append(collector.obj)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None, Any, Any]:
        """Check that only the command line deselects clauses.

        Raises:
            pytest.UsageError: The configuration or a plugin does.
        """
        result = yield
        self._selected = {item.nodeid for item in items if _contract_of(item)}
        arguments = self._worker_input.get("mainargv", self._config.invocation_params.args)
        if not any("::" in word or word.startswith(_SELECTIONS) for word in map(str, arguments)):
            for contract in self._contracts:
                clauses = clauses_of(contract)
                missing = clauses.keys() - {_name_of(item) for item in items if _contract_of(item) is contract}
                if missing:
                    message = (
                        f"{len(missing)} of the {len(clauses)} clauses of {contract.__qualname__} are not selected, "
                        f"for example {min(missing)}. Only the command line may select clauses, but not addopts, "
                        "python_functions, conftest files or plugins"
                    )
                    if not self._worker_input:
                        raise pytest.UsageError(message)
                    self._problem = message  # pytest-xdist does not show the errors of its workers' collections
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Report a clause as failed if it did not run, or if another result than its own would be reported."""
        report = yield
        if contract := _contract_of(item):
            self._reported.add(item.nodeid)
            problem = _find_problem(item, report) if _name_of(item) in clauses_of(contract) else None
            if report.when == "setup":
                problem = problem or self._problem
            if problem:
                report.outcome, report.longrepr = "failed", problem
                if hasattr(report, "wasxfail"):
                    del report.wasxfail
        return report

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a session that seems to be successful if results of clauses are missing."""
        if session.exitstatus == pytest.ExitCode.OK and not self._config.option.collectonly and not self._worker_input:
            self._missing = len(self._selected - self._reported)
            if self._missing:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print how many results are missing."""
        if self._missing:
            terminalreporter.write_line(
                f"ERROR: results of clauses of the contract are missing: {self._missing}", red=True
            )


def _find_problem(item: Any, report: pytest.TestReport) -> str | None:
    """Return why the report of a clause is not that of its run, or None."""
    excused = hasattr(report, "wasxfail")
    if report.failed or report.when == "teardown" or (report.when == "setup" and report.passed):
        return None
    overridden = not hasattr(item.function, "clause")
    if overridden and excused:  # as ContractMeta has checked, with a strict xfail and a reason
        return None
    outcome = outcomes.get(item.instance) if report.when == "call" else None
    if outcome == report.outcome and not excused:
        return None
    reported = "xfail" if excused else report.outcome
    ended = outcome or "not run"
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else getattr(report, "wasxfail", "")
    return (
        f"the contract's {_name_of(item)} was {ended}, but would be reported as {reported} ({reason}). Remove the "
        "mark, fixture or hook that causes this"
    )


def _contract_of(item: pytest.Item) -> ContractMeta | None:
    contract = getattr(item, "cls", None)
    return contract if isinstance(contract, ContractMeta) else None


def _name_of(item: pytest.Item) -> str:
    return getattr(item, "originalname", None) or item.name
