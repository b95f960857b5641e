"""No harness or store makes a failed or skipped clause green."""

from __future__ import annotations

import asyncio
import sys
import unittest
from collections.abc import Callable
from typing import Any

import pytest

from wnc_store import Room
from wnc_store_contract import Capability, Harness, StoreContract
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore


def contract_on(harness: Callable[[], Any]) -> Any:
    """Return a contract whose clauses can be called without pytest."""

    class Case(StoreContract):
        """The contract on the given harness."""

        def make_harness(self) -> Harness:
            """Return a new harness."""
            return harness()

    return Case()


# Outcomes that a harness or store raises.

OUTCOMES = {
    "skip": lambda: pytest.skip("not today"),
    "xfail": lambda: pytest.xfail("not today"),
    "exit": lambda: pytest.exit("not today", returncode=0),
    "system exit": lambda: sys.exit("not today"),
    "unittest skip": lambda: raise_error(unittest.SkipTest("not today")),
    "skips in a group": lambda: raise_error(BaseExceptionGroup("", [pytest.skip.Exception("not today")])),
    "cancellation": lambda: raise_error(asyncio.CancelledError("not today")),
}


def raise_error(error: BaseException) -> None:
    """Raise an error."""
    raise error


def harness_that_ends(method: str, end: Callable[[], object]) -> type[MemoryHarness]:
    """Return a harness one of whose methods ends the clause."""

    def ending(self: MemoryHarness, **_: Any) -> Any:  # noqa: ARG001
        return end()

    async def ending_later(self: MemoryHarness, _seconds: float = 0) -> Any:  # noqa: ARG001
        return end()

    member: dict[str, Any] = {
        "__init__": ending,
        "open_store": ending,
        "capabilities": property(ending),
        "advance": ending_later,
        "aclose": ending_later,
    }
    return type("EndingHarness", (MemoryHarness,), {method: member[method]})


@pytest.mark.parametrize("method", ["__init__", "open_store", "capabilities", "advance", "aclose"])
@pytest.mark.parametrize("end", OUTCOMES.values(), ids=OUTCOMES)
def test_a_harness_must_not_end_a_clause(method: str, end: Callable[[], object]) -> None:
    """A harness that skips, xfails or exits in any of its methods fails the clause; the message names the method."""
    with pytest.raises(pytest.fail.Exception, match=r"must not skip, xfail or end .*not today, in ending") as failure:
        contract_on(harness_that_ends(method, end)).test_advance_moves_the_time_of_the_data()
    assert failure.value.pytrace is False


# Stores and harnesses that make failures invisible.


class StoreHarness(MemoryHarness):
    """Memory stores that `change` modifies."""

    def change(self, store: Any) -> Any:
        """Return the modified store."""
        raise NotImplementedError

    def open_store(self, **settings: Any) -> Any:
        """Return a modified store."""
        return self.change(super().open_store(**settings))


class SwallowingHarness(StoreHarness):
    """Stores whose `__aexit__` suppresses every error, and whose rooms are never found."""

    def change(self, store: Any) -> Any:
        """Return a store that suppresses errors."""

        async def close(_self: Any, *_: object) -> bool:
            await store.aclose()
            return True

        async def find_nothing(_room_id: str) -> None:
            return None

        store.rooms.get_room = find_nothing
        store.__class__ = type("Swallowing", (MemoryStore,), {"__aexit__": close})
        return store


def test_a_store_cannot_swallow_a_failure() -> None:
    """A clause fails even if the store's `__aexit__` returns true."""
    with pytest.raises(AssertionError):
        contract_on(SwallowingHarness).test_a_created_room_is_read_back()


def test_a_store_that_swallows_errors_is_named() -> None:
    """One clause states that the store's `__aexit__` must not return true."""
    with pytest.raises(pytest.fail.Exception, match="expected LookupError, but nothing was raised"):
        contract_on(SwallowingHarness).test_leaving_a_store_keeps_the_errors_of_its_body()


class AnyRoom(Room):
    """A room that equals everything."""

    def __eq__(self, other: object) -> bool:
        """Return True."""
        return True

    __hash__ = Room.__hash__


class EqualHarness(StoreHarness):
    """Stores whose rooms equal everything."""

    def change(self, store: Any) -> Any:
        """Return a store with such rooms."""
        original = store.rooms.get_room

        async def get_room(room_id: str) -> Any:
            found = await original(room_id)
            return found and AnyRoom(**{name: getattr(found, name) for name in Room.model_fields})

        store.rooms.get_room = get_room
        return store


def test_records_must_not_equal_everything() -> None:
    """A store that returns a subclass of Room, which may equal anything, fails a clause."""
    with pytest.raises(AssertionError, match="AnyRoom"):
        contract_on(EqualHarness).test_records_have_the_types_of_the_library()


class ShrinkingHarness(MemoryHarness):
    """A harness that declares all its capabilities only at the first reads."""

    reads = 0

    def __getattribute__(self, name: str) -> Any:
        """Return no capabilities after the second read."""
        if name == "capabilities":
            type(self).reads += 1
            if type(self).reads > 2:
                return frozenset[Capability]()
        return super().__getattribute__(name)


def test_capabilities_must_not_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clause fails if a harness declares less than it, or another of its class, has declared before."""
    monkeypatch.setattr(ShrinkingHarness, "reads", 0)
    with pytest.raises(AssertionError, match=r"ShrinkingHarness\.capabilities must not change"):
        contract_on(ShrinkingHarness).test_ping_succeeds()


def test_capabilities_are_those_of_other_clauses() -> None:
    """A clause fails if its harness declares less than the harness of an earlier clause."""
    declared = [MemoryHarness.capabilities, frozenset[Capability]()]

    class ChangingHarness(MemoryHarness):
        """A harness that declares other capabilities each time."""

        def __init__(self) -> None:
            super().__init__()
            self.capabilities = declared.pop(0)

    case = contract_on(ChangingHarness)
    case.test_ping_succeeds()
    with pytest.raises(AssertionError, match=r"ChangingHarness\.capabilities must not change"):
        case.test_twenty_messages_are_kept()


class StandingHarness(MemoryHarness):
    """A harness whose time stands still."""

    async def advance(self, seconds: float) -> None:
        """Do nothing."""


class HurryingHarness(MemoryHarness):
    """A harness that takes seconds for milliseconds, so that everything expires at once."""

    async def advance(self, seconds: float) -> None:
        """Advance a thousand times as far."""
        await super().advance(seconds * 1000)


class DeafHarness(MemoryHarness):
    """A harness that ignores settings."""

    def open_store(self, **_settings: Any) -> Any:
        """Open a store with the default settings."""
        return super().open_store()


class KeepingHarness(MemoryHarness):
    """A harness that keeps its data when it is closed."""

    kept: Any = None

    def __init__(self) -> None:
        super().__init__()
        KeepingHarness.kept = KeepingHarness.kept or vars(self)
        vars(self).update(KeepingHarness.kept)


@pytest.mark.parametrize(
    ("harness", "clause", "problem"),
    [
        (StandingHarness, "advance_moves_the_time_of_the_data", r"from 1 day, .* to 1 day, .*after 24 hours: True"),
        (HurryingHarness, "advance_moves_the_time_of_the_data", r"to None; .* after 12 hours: False"),
        (DeafHarness, "settings_reach_the_store", "room_ttl, max_users_per_room, chat_history_limit have no effect"),
        (KeepingHarness, "closing_a_harness_removes_its_data", "contains the room that a closed one had created"),
    ],
)
def test_a_wrong_harness_is_named(harness: type[MemoryHarness], clause: str, problem: str) -> None:
    """A harness that does not move time, ignores settings or keeps data fails a clause that says what is wrong."""
    with pytest.raises(AssertionError, match=f"the harness is wrong: .*{problem}"):
        getattr(contract_on(harness), f"test_{clause}")()


def test_a_clause_that_does_not_run_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clause fails if asyncio.run has been replaced by a function that does not run it."""
    case = contract_on(MemoryHarness)

    def close(main: Any) -> None:
        main.close()

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "run", close)
        with pytest.raises(AssertionError, match=r"asyncio\.run returned before the clause ended"):
            case.test_ping_succeeds()


def test_a_contract_must_return_a_harness() -> None:
    """A clause fails if make_harness returns something else."""
    with pytest.raises(AssertionError, match="make_harness must return a Harness, but returned None"):
        contract_on(lambda: None).test_ping_succeeds()
