"""How a clause becomes a test, and how clauses are kept from being overridden."""

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
"""Seconds that a clause, or an operation of the state machine, may take before it counts as hanging."""

PATIENCE = 30
"""Seconds that a clause waits for what has to come. That nothing comes is seen by what comes next, not by waiting."""


class ContractContext:
    """What a clause works with: the harness, and stores that are closed when the clause ends."""

    def __init__(self, harness: Harness, stack: AsyncExitStack) -> None:
        self.harness = harness
        self._stack = stack

    async def open(self, **settings: Any) -> Store:
        """Open another client of the harness's data."""
        return await self._stack.enter_async_context(self.harness.open_store(**settings))

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        await self.harness.advance(seconds)


class HasHarness(Protocol):
    """The class that a stranger writes."""

    def make_harness(self) -> Harness:
        """Return a new harness."""
        ...


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of the contract.

    Attributes:
        name: of the test.
        rule: the sentence that it proves.
        needs: the capabilities without which it does not run.
    """

    name: str
    rule: str
    needs: frozenset[Capability]


Body = Callable[[Any, ContractContext], Awaitable[None]]
Test = Callable[[Any], None]


def clause(*needs: Capability) -> Callable[[Body], Test]:
    """Make a test of `async def test_...(self, bench)`: on a new harness, in an event loop of its own.

    A plain function, so that it runs under every pytest plugin and mode; pytest sees no argument but self.
    """

    def decorate(body: Body) -> Test:
        def test(self: HasHarness) -> None:
            __tracebackhide__ = True
            try:
                asyncio.run(_run(self, body, frozenset(needs)))
            except BaseException as error:
                error.__traceback__ = _from_the_clause_on(error.__traceback__, body)
                raise

        return as_clause(body.__name__, test, body, frozenset(needs))

    return decorate


def as_clause(name: str, test: Test, body: Callable[..., object], needs: frozenset[Capability]) -> Test:
    """Give a test its name and mark it as the clause that `body` is."""
    rule = inspect.getdoc(body)
    if not rule:
        message = f"a clause says its rule in one sentence: {body.__qualname__} has no docstring"
        raise TypeError(message)
    test.__name__, test.__qualname__, test.__module__ = name, body.__qualname__, body.__module__
    test.__doc__ = rule
    cast("Any", test).clause = Clause(name, rule, needs)
    return test


def skip_without(harness: Harness, needs: frozenset[Capability]) -> None:
    """Skip the running test if the harness lacks a capability."""
    missing = needs - harness.capabilities
    if missing:
        pytest.skip(f"not declared: {', '.join(sorted(missing))}")


def clauses_of(contract: type) -> dict[str, Clause]:
    """Return the clauses that a class has or inherits, by name, in the order of the suite."""
    found: dict[str, Clause] = {}
    for base in reversed(contract.__mro__):
        for name, member in vars(base).items():
            if isinstance(mark := getattr(member, "clause", None), Clause):
                found[name] = mark
    return found


class ContractMeta(ABCMeta):
    """The class of contracts: it keeps clauses from being overridden, removed, marked or skipped.

    It looks when a contract is made and whenever one of its attributes is set, which is what decorators of classes do.
    """

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any) -> None:
        super().__init__(name, bases, namespace, **options)
        cls._refuse_changes()

    def __setattr__(cls, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "pytestmark" or name in clauses_of(cls):
            cls._refuse_changes()

    def __delattr__(cls, name: str) -> None:
        super().__delattr__(name)
        cls._refuse_changes()

    def _refuse_changes(cls) -> None:
        suite = next((base for base in reversed(cls.__mro__) if type(base) is ContractMeta), cls)
        if cls is not suite:
            refuse_changes(cls, suite)


def refuse_changes(contract: type, suite: type) -> None:
    """Check that a contract has every clause of the suite as it is, or marked `xfail` with a reason, and strict.

    Raises:
        TypeError: it overrides, removes or marks a clause, or skips or excuses them all.
    """
    for name in clauses_of(suite):
        member, clause_itself = inspect.getattr_static(contract, name, None), inspect.getattr_static(suite, name)
        # A mark that is put on the inherited function marks the suite's own, for everybody.
        if _marks(member) if member is clause_itself else not _is_excused(member):
            message = (
                f"{contract.__qualname__} overrides, marks or removes the contract's {name}. What can't hold yet is "
                "marked @pytest.mark.xfail(reason='...', strict=True) and calls the clause that it overrides"
            )
            raise TypeError(message)
    if any(mark.name in {"skip", "skipif", "xfail"} for mark in _marks(contract)):
        message = (
            f"{contract.__qualname__} skips or excuses the whole contract: mark single clauses xfail, with a reason"
        )
        raise TypeError(message)


def _is_excused(member: object) -> bool:
    return any(
        mark.name == "xfail" and not mark.args and mark.kwargs.get("reason") and mark.kwargs.get("strict") is True
        for mark in _marks(member)
    )


def _marks(item: object) -> list[pytest.Mark]:
    marks = getattr(item, "pytestmark", [])
    listed = cast("list[Any]", marks if isinstance(marks, list) else [marks])
    return [getattr(mark, "mark", mark) for mark in listed]


def _from_the_clause_on(trace: TracebackType | None, body: Body) -> TracebackType | None:
    """Return a traceback without the frames of asyncio and of this module; as it is where the clause is not in it."""
    code, found = cast("Any", body).__code__, trace
    while found is not None and found.tb_frame.f_code is not code:
        found = found.tb_next
    return found or trace


async def _run(case: HasHarness, body: Body, needs: frozenset[Capability]) -> None:
    harness = case.make_harness()
    try:
        skip_without(harness, needs)
        async with asyncio.timeout(TIME_LIMIT), AsyncExitStack() as stack:
            try:
                await body(case, ContractContext(harness, stack))
            except (pytest.skip.Exception, pytest.xfail.Exception) as error:
                message = f"a clause that runs is not skipped or excused from inside: {error}"
                raise AssertionError(message) from error
    finally:
        await harness.aclose()
