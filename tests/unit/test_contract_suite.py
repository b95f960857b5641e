"""The contract suite as strangers use it: under any plugin, with the guard, with what a backend leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from wnc_store import NotSupportedError, Room, Store, StoreSettings, rules
from wnc_store.base import BaseStore
from wnc_store_contract import Capability, Harness, StoreContract, clauses_of, statemachine
from wnc_store_contract.calls import all_raise, chat_calls, connection_calls, event_calls, rate_limit_calls
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry

pytest_plugins = ["pytester"]

MINE = """
from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness

class TestMine(StoreContract):
    def make_harness(self):
        return MemoryHarness()
"""
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
"""Without it pytest-asyncio warns of a coming change of its own."""

FEW = "room_expires or users or joins or twenty or any_sequence"


@pytest.fixture(name="run_pytest")
def _run_pytest(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a stranger's test file, in this process, with a configuration of its own."""

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_mine=text)
        pytester.makeini("[pytest]")
        alone = ("-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:valkey")
        scope = () if "no:asyncio" in options else SCOPE
        return pytester.runpytest_inprocess("-q", "-W", "error", *alone, *scope, *options)

    return run


@pytest.mark.parametrize(
    "plugins",
    [
        ["-p", "no:asyncio", "-p", "no:anyio"],
        ["-p", "no:anyio", "-o", "asyncio_mode=strict"],
        ["-p", "no:anyio", "-o", "asyncio_mode=auto"],
        ["-p", "no:asyncio"],
        [],
    ],
    ids=["no plugin", "asyncio strict", "asyncio auto", "anyio", "asyncio and anyio"],
)
def test_the_suite_runs_under_any_plugin(
    run_pytest: Callable[..., pytest.RunResult], plugins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite needs no async plugin, and runs under each of them without being told how."""
    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, max_examples=1))
    outcomes = run_pytest(MINE, "-k", FEW, *plugins).parseoutcomes()
    assert set(outcomes) == {"passed", "deselected"}


def contract_on(harness: Callable[[], Harness]) -> Any:
    """Return the contract, whose clauses are called without pytest."""

    class Case(StoreContract):
        """On a harness."""

        def make_harness(self) -> Harness:
            """Return a new one."""
            return harness()

    return Case()


def test_a_strangers_file_is_short() -> None:
    """A stranger's whole file has fewer than 25 lines."""
    assert len(MINE.strip().splitlines()) < 25


def test_a_failed_clause_shows_itself_and_the_values(
    run_pytest: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger whose backend fails sees the clause and what it compared, not the suite's runner and asyncio's."""

    def leave(room: Room, _user_id: str) -> Room:
        return room

    monkeypatch.setattr(rules, "leave", leave)
    result = run_pytest(MINE, "-k", "a_leave_removes_the_user")
    result.assert_outcomes(failed=1, deselected=len(clauses_of(StoreContract)) - 1)
    output = result.stdout.str()
    assert "'first'" in output
    assert "users.py:" in output
    assert "clause.py:" not in output
    assert "runners.py:" not in output


def test_a_failed_lifetime_says_what_was_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not renew a room fails with what was gone, and how long after which call."""
    right = MemoryRoomStore._replace

    def replace(self: MemoryRoomStore, room_id: str, before: Entry[Room], after: Room) -> bool:
        left = self._rooms.remaining_ms(room_id)
        done = right(self, room_id, before, after)
        self._rooms.set(room_id, after, left or 0)
        return done

    monkeypatch.setattr(MemoryRoomStore, "_replace", replace)
    with pytest.raises(AssertionError, match="the room was gone 23 hours after add_user_to_room"):
        contract_on(MemoryHarness).test_add_user_to_room_renews()


XFAIL = "@pytest.mark.xfail{}\n    def test_twenty_messages_are_kept(self): pass"
OVERRIDES = {
    "override": "def test_twenty_messages_are_kept(self): assert True",
    "removal": "test_twenty_messages_are_kept = None",
    "skip mark": "test_twenty_messages_are_kept = pytest.mark.skip(StoreContract.test_twenty_messages_are_kept)",
    "xfail without a reason": "@pytest.mark.xfail\n    def test_twenty_messages_are_kept(self): assert False",
    "xfail that may pass": XFAIL.format("(reason='x')"),
    "xfail that is off": XFAIL.format("(False, reason='x', strict=True)"),
    "mark for all, on the class": "pass\n\nTestMine = pytest.mark.skip(TestMine)",
    "excuse for all": "pass\n\nTestMine = pytest.mark.xfail(reason='x')(TestMine)",
    "later override": "pass\n\nTestMine.test_twenty_messages_are_kept = lambda self: None",
    "own hook": "def __init_subclass__(cls): pass\n\nclass TestYours(TestMine):\n    test_ping_succeeds = None",
    "mark for all": "pytestmark = [pytest.mark.skip(reason='later')]",
}


@pytest.mark.parametrize("line", OVERRIDES.values(), ids=OVERRIDES)
def test_the_guard_refuses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overriding, removing or skipping a clause without an xfail and its reason is a TypeError."""
    # The mark of one of them is put on the suite's own function; it goes when the test ends.
    monkeypatch.setattr(StoreContract.test_twenty_messages_are_kept, "pytestmark", [], raising=False)
    with pytest.raises(TypeError, match="contract"):
        exec(f"import pytest\n{MINE}\n    {line}\n", {"__name__": "test_mine"})  # noqa: S102 - a stranger's file


def test_what_the_guard_refuses_fails_the_run(run_pytest: Callable[..., pytest.RunResult]) -> None:
    """A file that overrides a clause can't be collected, whatever is selected."""
    result = run_pytest(f"{MINE}\n    {OVERRIDES['override']}\n", "-k", "nothing_else")
    assert result.ret is pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)


def test_the_guard_refuses_a_mixin() -> None:
    """A clause that a mixin overrides is refused as well."""

    class Mixin:
        def test_twenty_messages_are_kept(self) -> None:
            """Pretend."""

    with pytest.raises(TypeError, match="test_twenty_messages_are_kept"):
        type("TestMine", (Mixin, StoreContract), {})


def test_an_xfail_with_a_reason_is_allowed(run_pytest: Callable[..., pytest.RunResult]) -> None:
    """A clause that can't hold yet may be marked xfail with a reason, and calls the clause it overrides."""
    excused = """
    @pytest.mark.xfail(reason="keeps 19, see our ticket", strict=True)
    def test_twenty_messages_are_kept(self):
        super().test_twenty_messages_are_kept()
        raise AssertionError
"""
    result = run_pytest(f"import pytest\n{MINE}{excused}", "-k", "twenty")
    result.assert_outcomes(xfailed=1, deselected=len(clauses_of(StoreContract)) - 1)


def test_every_clause_says_one_rule() -> None:
    """Every clause has a docstring of one sentence of its own."""
    rules = [clause.rule for clause in clauses_of(StoreContract).values()]
    assert len(rules) == len(set(rules)) > 100
    assert all(rule.endswith(".") and "\n\n" not in rule for rule in rules)


class NothingMore:
    """A part that a backend does not offer."""

    def __getattr__(self, name: str) -> Any:
        """Refuse everything."""
        raise NotSupportedError(name)


class SmallHarness(MemoryHarness):
    """A backend without chat and listing."""

    capabilities = frozenset[Capability]()

    def open_store(self, **settings: Any) -> Any:
        """Return a store with holes."""
        store: Any = super().open_store(**settings)
        store.chat = NothingMore()
        store.rooms._list = NothingMore().__getattr__
        store.rooms._sweep = NothingMore().__getattr__
        return store


def test_what_is_not_declared_is_skipped() -> None:
    """Clauses on parts that a harness does not declare are skipped and say what is missing; the others hold."""
    case = contract_on(SmallHarness)
    told_of_the_rest = {"test_undeclared_capabilities_raise", "test_publish_changes_requires_events"}
    for name, clause in clauses_of(StoreContract).items():
        if not clause.needs and name not in told_of_the_rest:
            getattr(case, name)()
        elif clause.needs:
            with pytest.raises(pytest.skip.Exception, match="not declared"):
                getattr(case, name)()


async def test_a_store_of_rooms_alone_says_what_it_lacks() -> None:
    """A backend that sets only its rooms raises NotSupportedError for chat, connections, rate limits and events."""

    class RoomsAlone(BaseStore):
        """No part but rooms."""

        async def _ping(self) -> None:
            pass

        async def _close(self) -> None:
            pass

    store = RoomsAlone(StoreSettings())
    await all_raise(NotSupportedError, chat_calls(store.chat, "A"))
    await all_raise(NotSupportedError, connection_calls(store.connections, "ip", "c1"))
    await all_raise(NotSupportedError, rate_limit_calls(store.rate_limits, "ip"))
    await all_raise(NotSupportedError, event_calls(store.events, "A"))


def test_an_undeclared_part_that_works_is_red() -> None:
    """A backend that offers what it does not declare fails: it would go untested."""

    class Quiet(MemoryHarness):
        """Chat and listing, undeclared."""

        capabilities = frozenset[Capability]()

    with pytest.raises(pytest.fail.Exception, match=r"add Capability\.CHAT to Quiet\.capabilities"):
        contract_on(Quiet).test_undeclared_capabilities_raise()


def test_raw_access_is_refused_where_there_is_none() -> None:
    """A harness without raw access says so."""
    with pytest.raises(NotSupportedError, match="MemoryHarness"):
        assert MemoryHarness().raw


@pytest.mark.parametrize("excuse", [pytest.skip, pytest.xfail])
def test_a_harness_can_not_excuse_a_clause(excuse: Any) -> None:
    """A harness that skips, or expects the failure of, the clause that is running fails it."""

    class Excusing(MemoryHarness):
        """Time does not pass here."""

        async def advance(self, seconds: float) -> None:
            """Look for a way out."""
            excuse(f"{seconds} seconds are too long")

    with pytest.raises(AssertionError, match="too long"):
        contract_on(Excusing).test_a_room_expires_after_24_hours()


def test_a_contract_needs_a_harness() -> None:
    """A contract without make_harness can't be made, and the error names the method."""

    class Case(StoreContract):
        """The contract on nothing."""

    with pytest.raises(TypeError, match="make_harness"):
        Case()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


def test_a_clause_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that never answers fails its clause when the time limit ends, instead of hanging the run."""

    class Hanging(MemoryHarness):
        """A backend whose ping never returns."""

        def open_store(self, **settings: Any) -> Any:
            """Return a store that hangs."""
            store: Any = super().open_store(**settings)
            store._ping = asyncio.Event().wait
            return store

    monkeypatch.setattr("wnc_store_contract.clause.TIME_LIMIT", 0.05)
    with pytest.raises(TimeoutError):
        contract_on(Hanging).test_ping_succeeds()


def test_stores_are_closed_when_a_clause_ends() -> None:
    """Every store that a clause opened is closed before the harness."""
    opened: list[Store] = []
    order: list[str] = []

    class Watched(MemoryHarness):
        """A harness that remembers."""

        def open_store(self, **settings: Any) -> Any:
            """Remember the store."""
            opened.append(super().open_store(**settings))
            return opened[-1]

        async def aclose(self) -> None:
            """Remember whether the stores were closed by now."""
            order.extend("closed" if store.closed else "open" for store in opened)

    contract_on(Watched).test_two_clients_share_data()
    assert order == ["closed", "closed"]
