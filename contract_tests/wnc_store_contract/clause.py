"""The decorator that makes a test of a clause, and the metaclass that rejects overridden clauses."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABCMeta
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, cast

import pytest

from wnc_store import Store
from wnc_store_contract.harness import Capability, Harness

TIME_LIMIT = 60
"""Seconds after which a clause, or an operation of the state machine, fails as hung."""

PATIENCE = 30
"""Seconds that a clause waits for an expected event. No clause waits to find out that an event does not occur."""


class ContractContext:
    """The harness of a clause, and the stores that the clause has opened; they are closed when it ends."""

    def __init__(self, harness: Harness, stack: AsyncExitStack) -> None:
        self.harness = harness
        self._stack = stack

    async def open(self, **settings: Any) -> Store:
        """Open a new client of the harness's data."""
        return await self._stack.enter_async_context(self.harness.open_store(**settings))

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
            __tracebackhide__ = True
            try:
                asyncio.run(_run(self, body, frozenset(needs)))
            except BaseException as error:
                error.__traceback__ = _trim_traceback(error.__traceback__, body)
                raise

        return as_clause(body.__name__, test, body, frozenset(needs))

    return decorate


def as_clause(name: str, test: Test, body: Callable[..., object], needs: frozenset[Capability]) -> Test:
    """Name a test after its clause and attach the `Clause`.

    Raises:
        TypeError: `body` has no docstring.
    """
    rule = inspect.getdoc(body)
    if not rule:
        message = f"a clause must state its rule in a docstring, but {body.__qualname__} has none"
        raise TypeError(message)
    test.__name__, test.__qualname__, test.__module__ = name, body.__qualname__, body.__module__
    test.__doc__ = rule
    cast("Any", test).clause = Clause(name, rule, needs)
    return test


def skip_without(harness: Harness, needs: frozenset[Capability]) -> None:
    """Skip the current test if the harness lacks a capability."""
    missing = needs - harness.capabilities
    if missing:
        pytest.skip(f"not declared: {', '.join(sorted(missing))}")


def clauses_of(contract: type) -> dict[str, Clause]:
    """Return the clauses of a class by name, including inherited ones, in the order of the suite."""
    clauses: dict[str, Clause] = {}
    for base in reversed(contract.__mro__):
        for name, member in vars(base).items():
            if isinstance(attached := getattr(member, "clause", None), Clause):
                clauses[name] = attached
    return clauses


class ContractMeta(ABCMeta):
    """Metaclass that rejects contracts that override, remove, mark or skip clauses.

    It checks a contract when the class is created, and when an attribute is set or deleted, as class decorators do.
    """

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        cls._check()

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
        TypeError: The contract overrides, removes or marks a clause, or skips or xfails all clauses.
    """
    for name in clauses_of(suite):
        member, original = inspect.getattr_static(contract, name, None), inspect.getattr_static(suite, name)
        # A mark on an inherited function is a mark on the suite's function, which all contracts share.
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


def _trim_traceback(trace: TracebackType | None, body: Body) -> TracebackType | None:
    """Return a traceback without the frames outside the clause; unchanged if it does not contain the clause."""
    code, current = cast("Any", body).__code__, trace
    while current is not None and current.tb_frame.f_code is not code:
        current = current.tb_next
    return current or trace


async def _run(case: HasHarness, body: Body, needs: frozenset[Capability]) -> None:
    harness = case.make_harness()
    try:
        skip_without(harness, needs)
        async with asyncio.timeout(TIME_LIMIT), AsyncExitStack() as stack:
            try:
                await body(case, ContractContext(harness, stack))
            except (pytest.skip.Exception, pytest.xfail.Exception) as error:
                message = f"a harness must not skip or xfail a running clause: {error}"
                raise AssertionError(message) from error
    finally:
        await harness.aclose()
