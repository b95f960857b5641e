"""How a clause becomes a test, and how clauses are kept from being overridden."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, cast

import pytest

from wnc_store import Store
from wnc_store_contract.harness import Capability, Harness

_TIME_LIMIT = 60


class Bench:
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


Body = Callable[[Any, Bench], Awaitable[None]]
Test = Callable[[Any], None]


def clause(*needs: Capability) -> Callable[[Body], Test]:
    """Make a test of `async def test_...(self, bench)`: on a new harness, in an event loop of its own.

    A plain function, so that it runs under every pytest plugin and mode; pytest sees no argument but self.
    """

    def decorate(body: Body) -> Test:
        def test(self: HasHarness) -> None:
            asyncio.run(_run(self, body, frozenset(needs)))

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


def refuse_overrides(contract: type, suite: type) -> None:
    """Check that a subclass has every clause of the suite as it is, or marked `xfail` with a reason.

    Raises:
        TypeError: it overrides or removes a clause, or skips them all.
    """
    for name in clauses_of(suite):
        member, clause_itself = inspect.getattr_static(contract, name, None), inspect.getattr_static(suite, name)
        # A mark that is put on the inherited function marks the suite's own, for everybody.
        if _marks(member) if member is clause_itself else not _is_excused(member):
            message = (
                f"{contract.__qualname__} overrides, marks or removes the contract's {name}. What can't hold yet "
                "is marked @pytest.mark.xfail(reason='...') and calls the clause that it overrides"
            )
            raise TypeError(message)
    if any(mark.name in {"skip", "skipif"} for mark in _marks(contract)):
        message = f"{contract.__qualname__} skips the contract: mark single clauses xfail, with a reason"
        raise TypeError(message)


def _is_excused(member: object) -> bool:
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in _marks(member))


def _marks(item: object) -> list[pytest.Mark]:
    marks = getattr(item, "pytestmark", [])
    listed = cast("list[Any]", marks if isinstance(marks, list) else [marks])
    return [getattr(mark, "mark", mark) for mark in listed]


async def _run(case: HasHarness, body: Body, needs: frozenset[Capability]) -> None:
    harness = case.make_harness()
    try:
        skip_without(harness, needs)
        async with asyncio.timeout(_TIME_LIMIT), AsyncExitStack() as stack:
            await body(case, Bench(harness, stack))
    finally:
        await harness.aclose()
