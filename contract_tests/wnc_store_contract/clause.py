"""The decorator that makes a test of a clause, and the runner, which no harness or store can bypass."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Protocol, cast
from weakref import WeakKeyDictionary

import pytest

from wnc_store import Store
from wnc_store_contract.explain import explain_failure, running
from wnc_store_contract.harness import Capability, Harness

TIME_LIMIT = 60
"""Seconds after which a clause, or an operation of the state machine, fails as hung."""

PATIENCE = 30
"""Seconds that a clause waits for an expected event. No clause waits to find out that an event does not occur."""

outcomes: WeakKeyDictionary[object, str] = WeakKeyDictionary()
"""The outcome of the clause that each test object ran. pytest must report the same."""

_declared: WeakKeyDictionary[type, dict[type, frozenset[Capability]]] = WeakKeyDictionary()
"""The capabilities that each class of harnesses has declared to each contract."""


class NotDeclaredError(Exception):
    """Raised by a clause that needs capabilities that the harness does not declare; the message lists them."""


class ContractContext:
    """The harness of a clause, and the stores that the clause has opened; they are closed when it ends."""

    def __init__(self, harness: Harness, stack: AsyncExitStack) -> None:
        self.harness = harness
        self._stack = stack

    async def open(self, **settings: Any) -> Store:
        """Open a new client of the harness's data."""
        opened = AsyncExitStack()
        store = await opened.enter_async_context(self.harness.open_store(**settings))
        # A callback cannot suppress the error of a failed clause, as the store's __aexit__ could.
        self._stack.push_async_callback(opened.aclose)
        return store

    async def advance(self, seconds: float) -> None:
        """Advance the harness's time."""
        await self.harness.advance(seconds)


class HasHarness(Protocol):
    """A test class of a backend's author."""

    def make_harness(self) -> Harness:
        """Return a new harness."""
        ...


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the contract.

    Attributes:
        name: The name of the test.
        rule: The fact that it checks: the docstring.
        needs: The capabilities that it requires.
    """

    name: str
    rule: str
    needs: frozenset[Capability]


Body = Callable[[Any, ContractContext], Awaitable[None]]
Test = Callable[[Any], None]


def clause(*needs: Capability) -> Callable[[Body], Test]:
    """Make a synchronous test of `async def test_...(self, context)`.

    The test runs on a new harness in a new event loop, so it needs no pytest plugin and works with any. pytest sees no
    argument except self.
    """

    def decorate(body: Body) -> Test:
        def test(self: HasHarness) -> None:
            ended: list[Body] = []
            asyncio.run(_run(self, body, frozenset(needs), ended))
            if not ended:
                message = "asyncio.run returned before the clause ended; something has replaced it"
                raise AssertionError(message)

        return as_clause(body.__name__, test, body, frozenset(needs))

    return decorate


def as_clause(name: str, test: Test, body: Callable[..., object], needs: frozenset[Capability]) -> Test:
    """Name a test after its clause, attach the `Clause`, and explain its failures.

    Raises:
        TypeError: The docstring of `body` is missing.
    """
    rule = inspect.getdoc(body)
    if not rule:
        message = f"a clause must state its rule in a docstring, but {body.__qualname__} has none"
        raise TypeError(message)

    def run(self: HasHarness) -> None:
        __tracebackhide__ = True
        outcomes[self] = "failed"
        token = running.set(True)
        try:
            test(self)
        except NotDeclaredError as error:
            outcomes[self], missing = "skipped", str(error)
        except BaseException as error:
            error.__traceback__ = _trim_traceback(error.__traceback__, body)
            explained = explain_failure(error, rule)
            if explained is error:
                raise
            _raise(explained)
        else:
            outcomes[self], missing = "passed", ""
        finally:
            running.reset(token)
        if missing:
            pytest.skip(f"not declared: {missing}")

    run.__name__, run.__qualname__, run.__module__ = name, body.__qualname__, body.__module__
    run.__doc__ = rule
    cast("Any", run).clause = Clause(name, rule, needs)
    return run


def _raise(error: BaseException) -> NoReturn:
    """Raise an error from a frame that is not hidden; pytest would add a line to a failure without one."""
    raise error from None


def make_harness(case: HasHarness) -> Harness:
    """Return a new harness of a test.

    Raises:
        AssertionError: It is not a harness, or other harnesses of its class have declared other capabilities.
    """
    harness: Any = case.make_harness()
    if not isinstance(harness, Harness):
        message = f"{type(case).__name__}.make_harness must return a Harness, but returned {harness!r}"
        raise AssertionError(message)  # noqa: TRY004 - the clause fails
    check_capabilities(case, harness)
    return harness


def check_capabilities(case: HasHarness, harness: Harness) -> None:
    """Check that a harness declares what it, and the harnesses of other clauses, have declared before.

    Raises:
        AssertionError: It does not.
    """
    declared = harness.capabilities
    first = _declared.setdefault(type(case), {}).setdefault(type(harness), declared)
    for capabilities in (declared, harness.capabilities):
        if capabilities != first:
            message = (
                f"{type(harness).__name__}.capabilities must not change: it was {sorted(first)}, and then "
                f"{sorted(capabilities)}"
            )
            raise AssertionError(message)


def require(harness: Harness, needs: frozenset[Capability]) -> None:
    """Check that a harness declares capabilities.

    Raises:
        NotDeclaredError: It does not, so that the clause is skipped.
    """
    missing = needs - harness.capabilities
    if missing:
        raise NotDeclaredError(", ".join(sorted(missing)))


def clauses_of(contract: type) -> dict[str, Clause]:
    """Return the clauses of a class by name, including inherited ones, in the order of the suite."""
    clauses: dict[str, Clause] = {}
    for base in reversed(contract.__mro__):
        for name, member in vars(base).items():
            if isinstance(attached := getattr(member, "clause", None), Clause):
                clauses[name] = attached
    return clauses


def _trim_traceback(trace: TracebackType | None, body: Callable[..., object]) -> TracebackType | None:
    """Return a traceback without the frames outside the clause; unchanged if it does not contain the clause."""
    code, current = cast("Any", body).__code__, trace
    while current is not None and current.tb_frame.f_code is not code:
        current = current.tb_next
    return current or trace


async def _run(case: HasHarness, body: Body, needs: frozenset[Capability], ended: list[Body]) -> None:
    harness = make_harness(case)
    try:
        require(harness, needs)
        async with asyncio.timeout(TIME_LIMIT), AsyncExitStack() as stack:
            await body(case, ContractContext(harness, stack))
        check_capabilities(case, harness)
    except BaseException:
        with suppress(Exception):  # the first error is the one to report
            await harness.aclose()
        raise
    await harness.aclose()
    ended.append(body)
