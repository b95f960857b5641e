"""The process in which `verify` runs the clauses.

A backend can end or damage this process, but not the report, which the process that started this one makes. It reads a
`Request` from standard input, and writes one JSON value per line to standard output.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from traceback import walk_tb
from typing import Any, cast

import pytest

from wnc_store import ConfigurationError, StoreError, StoreUnavailableError
from wnc_store.factory import load_entry
from wnc_store_contract.clause import Clause
from wnc_store_contract.explain import find_harness_problem
from wnc_store_contract.faults.run import FaultReport, ensure_disconnects, run_faults
from wnc_store_contract.harness import Harness

Send = Callable[[dict[str, Any]], None]

ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (StoreUnavailableError, ConfigurationError, StoreError, ImportError)
}
"""The errors that the process reports by name, most specific first."""

_TEST = f"{__package__}._verified"

chosen_harness: ContextVar[Callable[[], Harness]] = ContextVar("chosen_harness")
"""The function that makes a harness for each clause."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to verify.

    Attributes:
        harness: The harness: `package.module:Class` or, with a URL, the value of an entry point.
        url: The URL that the harness is called with, or None.
        clauses: The names of the clauses, or None for all. An empty list runs only the faults.
        fail_fast: Stop after the first failure.
        allow_nonempty: Accept a storage location that contains data.
        faults: How many seconds to run calls under faults after the clauses, or None.
        seed: The seed of the faults.
        key_prefix: The beginning of every key, or "". Only with a URL.
    """

    harness: str
    url: str | None
    clauses: list[str] | None
    fail_fast: bool
    allow_nonempty: bool
    faults: float | None = None
    seed: int = 0
    key_prefix: str = ""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self))


def main() -> None:
    """Run the requested clauses."""
    request = Request(**json.load(sys.stdin))
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a backend prints must not end up between the reports

    def send(report: dict[str, Any]) -> None:
        reports.write(f"{json.dumps(report)}\n")
        reports.flush()

    reporter = _Reporter(request, send)
    names = [f"::TestVerified::{name}" for name in request.clauses or ()] or [""]
    tests = [f"{_TEST}{name}" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pytest.ini"
        config.write_text("[pytest]\n")
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        # The configuration, plugins and conftest files of the working directory are ignored.
        options = ["-p", "no:terminal", "-p", "no:cacheprovider", "--noconftest", "-c", str(config)]
        stop = ["-x"] if request.fail_fast else []
        if request.clauses == []:
            stop.append("--collect-only")  # loads and checks the harness
        pytest.main([*options, *stop, "--pyargs", *tests], plugins=[reporter])
    if request.faults is not None and reporter.is_usable and not (request.fail_fast and reporter.has_failed):
        with suppress(KeyboardInterrupt):  # the process that started this one reports it
            _run_faults(request, request.faults, chosen_harness.get(), send)
    send({"event": "end"})


def _run_faults(request: Request, seconds: float, make_harness: Callable[[], Harness], send: Send) -> None:
    """Run calls under faults, and report the progress every second and the result."""
    shown = time.monotonic()

    def on_round(report: FaultReport) -> None:
        nonlocal shown
        if time.monotonic() - shown > 1:
            shown = time.monotonic()
            send({"event": "progress", "operations": report.operations, "faults": report.faults})

    async def run() -> FaultReport:
        harness = make_harness()
        try:
            return await run_faults(harness, request.seed, seconds=seconds, on_round=on_round)
        finally:
            await harness.aclose()

    try:
        report = asyncio.run(run())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a harness may raise anything
        send({"event": "crash", "message": _describe_error(request, error)["message"]})
    else:
        send({"event": "faults", "report": report.to_json()})


def _describe_error(request: Request, error: BaseException) -> dict[str, Any]:
    """Return the name of an error in `ERRORS` and a message without the URL, which may contain a password."""
    kind = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), None)
    problem = str(error) if kind else find_harness_problem(error) or f"{type(error).__name__}: {error}"
    if request.url:
        problem = problem.replace(request.url, "the URL")
    return {"kind": kind or ConfigurationError.__name__, "message": problem}


class _Reporter:
    """A pytest plugin that loads the harness and reports the results.

    Attributes:
        is_usable: Whether the harness is usable.
        has_failed: Whether a clause has failed.
    """

    def __init__(self, request: Request, send: Send) -> None:
        self.is_usable = False
        self.has_failed = False
        self._request = request
        self._send = send
        self._clauses: dict[str, Clause] = {}

    def pytest_configure(self) -> None:
        """Register the clauses for assertion rewriting, which pytest supports only from this hook on."""
        pytest.register_assert_rewrite("wnc_store_contract.clauses", "wnc_store_contract.statemachine")

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Load the harness, now that the assertions of clauses that its module imports are rewritten."""
        try:
            make_harness = load_harness(self._request)
            ensure_usable(make_harness, self._request)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a harness may raise anything, also SystemExit
            self._send({"event": "error", **_describe_error(self._request, error)})
            pytest.exit("the harness is not usable")
        chosen_harness.set(make_harness)
        self.is_usable = True

    def pytest_runtest_logstart(self, location: tuple[str, int | None, str]) -> None:
        """Report that a clause starts."""
        self._send({"event": "start", "name": _name(location)})

    def pytest_itemcollected(self, item: pytest.Function) -> None:
        """Record a clause."""
        self._clauses[item.originalname] = cast("Any", item).function.clause

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Report the result of a clause: of its setup if that failed, otherwise of its call."""
        if report.when == "call" or not report.passed:
            name = _name(report.location)
            detail = _detail(report, self._clauses[name].rule)
            result = {"name": name, "outcome": report.outcome, "detail": detail, "seconds": report.duration}
            self.has_failed |= report.failed
            self._send({"event": "result", **result})


def load_harness(request: Request) -> Callable[[], Harness]:
    """Return a function that makes harnesses.

    Modules in the working directory are importable, also later, when the harness imports them.

    Raises:
        ConfigurationError: The harness does not exist, is not a complete subclass of Harness, or requires arguments.
        ImportError: A package that the harness requires is missing.
    """
    if request.url is not None:
        scheme = request.url.partition("://")[0]
        entry = EntryPoint(scheme, request.harness, "wnc_store.harnesses")
        make = cast("Callable[..., Harness]", load_entry(entry, "harness"))
        prefix = _key_prefix(make, request.key_prefix, scheme)
        return lambda: make_checked(lambda: make(request.url, **prefix), f"for {scheme}://")
    sys.path.insert(0, str(Path.cwd()))
    harness = _find_class(request.harness)
    return lambda: make_checked(harness, repr(request.harness))


def _key_prefix(make: Callable[..., Harness], key_prefix: str, scheme: str) -> dict[str, str]:
    """Return the argument that gives a harness its key prefix: a unique one that begins with `key_prefix`.

    Raises:
        ConfigurationError: The harness does not have a parameter `key_prefix`.
    """
    if not key_prefix:
        return {}
    if "key_prefix" not in inspect.signature(make).parameters:
        message = f"the harness for {scheme}:// does not accept key_prefix: omit --key-prefix"
        raise ConfigurationError(message)
    return {"key_prefix": f"{key_prefix}wnc-contract-{secrets.token_hex(6)}:"}


def _find_class(name: str) -> type[Harness]:
    """Return the harness class of `package.module:Class`."""
    module, _, attribute = name.partition(":")
    try:
        harness: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"harness {name!r} not found ({error}); expected package.module:Class"
        raise ConfigurationError(message) from error
    except Exception as error:
        *_, (frame, line) = walk_tb(error.__traceback__)
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
        message = f"importing the harness {name!r} failed: {type(error).__name__}: {error} ({place})"
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
    return harness


def make_checked(make: Callable[[], Harness], name: str) -> Harness:
    """Make a harness.

    Raises:
        ConfigurationError: The factory raised.
    """
    try:
        return make()
    except (StoreError, ImportError):  # their messages are clear already
        raise
    except Exception as error:
        message = f"making the harness {name} failed: {type(error).__name__}: {error}"
        raise ConfigurationError(message) from error


def ensure_usable(make_harness: Callable[[], Harness], request: Request) -> None:
    """Check that a harness opens stores, that its storage location is empty, and that it can cause requested faults.

    Raises:
        ConfigurationError: One of these is not the case.
    """

    async def check() -> str | None:
        harness = make_harness()
        await _ensure_store(harness)
        if request.faults is not None:
            ensure_disconnects(harness)
        existing = await harness.describe_existing_data()
        await harness.aclose()  # not called if the server is unreachable: nothing was written
        return existing

    existing = asyncio.run(check())
    if existing and not request.allow_nonempty:
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


def _name(location: tuple[str, int | None, str]) -> str:
    return location[2].rpartition(".")[2]


def _detail(report: pytest.TestReport, rule: str) -> str:
    """Return why a clause did not pass: the place and the message, without the rule, which the report states anyway."""
    if report.passed:
        return ""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    traceback = getattr(report.longrepr, "reprtraceback", None)
    if crash is None or traceback is None or traceback.style == "value":  # a failure without a traceback
        return str(report.longrepr).strip().removeprefix(f"{rule}\n")
    message = crash.message.removeprefix("AssertionError: ").removeprefix("Failed: ").removeprefix(f"{rule}\n")
    return f"{Path(crash.path).name}:{crash.lineno}: {message}"
