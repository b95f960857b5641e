"""Tests of the contract suite as backend authors use it: plugins, overridden clauses, undeclared capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

from wnc_store import ConfigurationError, NotSupportedError, Room, Store, StoreSettings, rules
from wnc_store.base import BaseStore, Lifecycle
from wnc_store_contract import Capability, Harness, StoreContract, clauses_of, statemachine
from wnc_store_contract.calls import all_raise, chat_calls, connection_calls, event_calls, rate_limit_calls
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry

pytest_plugins = ["pytester"]

CONTRACT_FILE = """
from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness

class TestMine(StoreContract):
    def make_harness(self):
        return MemoryHarness()
"""
LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
"""pytest-asyncio warns of a deprecation if this option is not set."""

SOME_CLAUSES = "room_expires or (users and not another_client) or joins or twenty or any_sequence"


@pytest.fixture(name="run_pytest")
def _run_pytest(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a test file in this process, with its own configuration."""

    def run(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_mine=text)
        pytester.makeini("[pytest]")
        isolated = ("-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:valkey")
        scope = () if "no:asyncio" in options else LOOP_SCOPE
        return pytester.runpytest_inprocess("-q", "-W", "error", *isolated, *scope, *options)

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
    """The suite runs without async plugins and with each of them, without configuration."""
    monkeypatch.setattr(statemachine, "SETTINGS", settings(statemachine.SETTINGS, max_examples=1))
    outcomes = run_pytest(CONTRACT_FILE, "-k", SOME_CLAUSES, *plugins).parseoutcomes()
    assert set(outcomes) == {"passed", "deselected"}


def contract_on(harness: Callable[[], Harness]) -> Any:
    """Return a contract whose clauses can be called without pytest."""

    class Case(StoreContract):
        """The contract on the given harness."""

        def make_harness(self) -> Harness:
            """Return a new harness."""
            return harness()

    return Case()


def test_a_failed_clause_shows_itself_and_the_values(
    run_pytest: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed clause prints itself and the compared values, without the frames of the runner and asyncio."""

    def leave(room: Room, _user_id: str) -> Room:
        return room

    monkeypatch.setattr(rules, "leave", leave)
    result = run_pytest(CONTRACT_FILE, "-k", "a_leave_removes_the_user")
    result.assert_outcomes(failed=1, deselected=len(clauses_of(StoreContract)) - 1)
    output = result.stdout.str()
    assert "'first'" in output
    assert "users.py:" in output
    assert "clause.py:" not in output
    assert "runners.py:" not in output


def test_a_failed_ttl_clause_names_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of a failed TTL clause names the record, the time and the call."""
    original = MemoryRoomStore._replace

    def replace(self: MemoryRoomStore, room_id: str, before: Entry[Room], after: Room) -> bool:
        remaining = self._rooms.remaining_ms(room_id)
        replaced = original(self, room_id, before, after)
        self._rooms.set(room_id, after, remaining or 0)
        return replaced

    monkeypatch.setattr(MemoryRoomStore, "_replace", replace)
    with pytest.raises(AssertionError, match="the room had expired 23 hours after add_user_to_room"):
        contract_on(MemoryHarness).test_add_user_to_room_renews()


XFAIL = "@pytest.mark.xfail{}\n    def test_twenty_messages_are_kept(self): pass"
OVERRIDES = {
    "override": "def test_twenty_messages_are_kept(self): assert True",
    "fixture of the same name": "test_twenty_messages_are_kept = pytest.fixture(lambda self: None)",
    "removal": "test_twenty_messages_are_kept = None",
    "skip mark": "test_twenty_messages_are_kept = pytest.mark.skip(StoreContract.test_twenty_messages_are_kept)",
    "xfail without a reason": "@pytest.mark.xfail\n    def test_twenty_messages_are_kept(self): assert False",
    "xfail that is not strict": XFAIL.format("(reason='x')"),
    "xfail with a false condition": XFAIL.format("(False, reason='x', strict=True)"),
    "skip mark on the class": "pass\n\nTestMine = pytest.mark.skip(TestMine)",
    "xfail mark on the class": "pass\n\nTestMine = pytest.mark.xfail(reason='x')(TestMine)",
    "later override": "pass\n\nTestMine.test_twenty_messages_are_kept = lambda self: None",
    "own hook": "def __init_subclass__(cls): pass\n\nclass TestYours(TestMine):\n    test_ping_succeeds = None",
    "mixin": "pass\n\nTestMine = type('TestMine', (type('Mixin', (), {'test_ping_succeeds': 1}), StoreContract), {})",
    "pytestmark": "pytestmark = [pytest.mark.skip(reason='later')]",
}


@pytest.mark.parametrize("line", OVERRIDES.values(), ids=OVERRIDES)
def test_changed_clauses_are_rejected(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overriding, removing or skipping a clause raises TypeError, except with a strict xfail and a reason."""
    # One of the lines adds a marker to the suite's function. monkeypatch removes the marker after the test.
    monkeypatch.setattr(StoreContract.test_twenty_messages_are_kept, "pytestmark", [], raising=False)
    with pytest.raises(TypeError, match="contract"):
        exec(f"import pytest\n{CONTRACT_FILE}\n    {line}\n", {"__name__": "test_mine"})  # noqa: S102 - a test file


def test_a_changed_clause_fails_the_run(run_pytest: Callable[..., pytest.RunResult]) -> None:
    """A file that overrides a clause cannot be collected, even if no clause is selected."""
    result = run_pytest(f"{CONTRACT_FILE}\n    {OVERRIDES['override']}\n", "-k", "nothing_else")
    assert result.ret is pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)


def test_an_xfail_with_a_reason_is_allowed(run_pytest: Callable[..., pytest.RunResult]) -> None:
    """A clause may be overridden with a strict xfail that has a reason and calls the overridden clause."""
    override = """
    @pytest.mark.xfail(reason="keeps 19, see our ticket", strict=True)
    def test_twenty_messages_are_kept(self):
        super().test_twenty_messages_are_kept()
        raise AssertionError
"""
    result = run_pytest(f"import pytest\n{CONTRACT_FILE}{override}", "-k", "twenty")
    result.assert_outcomes(xfailed=1, deselected=len(clauses_of(StoreContract)) - 1)


def test_every_clause_has_a_unique_rule() -> None:
    """Every clause has a docstring of one paragraph that no other clause has."""
    rules = [clause.rule for clause in clauses_of(StoreContract).values()]
    assert len(rules) == len(set(rules)) > 100
    assert all(rule.endswith(".") and "\n\n" not in rule for rule in rules)


def test_no_clause_hides_another() -> None:
    """No two classes of the suite define clauses of the same name."""
    names = [name for base in StoreContract.__mro__ for name, member in vars(base).items() if hasattr(member, "clause")]
    assert sorted(names) == sorted(clauses_of(StoreContract))


class Unsupported:
    """A part that a backend does not support."""

    def __getattr__(self, name: str) -> Any:
        """Raise NotSupportedError."""
        raise NotSupportedError(name)


class SmallHarness(MemoryHarness):
    """A backend without chat and listing."""

    capabilities = frozenset[Capability]()

    def open_store(self, **settings: Any) -> Any:
        """Return a store without the undeclared parts."""
        store: Any = super().open_store(**settings)
        store.chat = Unsupported()
        store.rooms._iter_ids = Unsupported().__getattr__
        store.rooms._prune_index = Unsupported().__getattr__
        return store


@pytest.mark.usefixtures("few_sequences")
def test_clauses_of_undeclared_capabilities_are_skipped() -> None:
    """Clauses that need an undeclared capability are skipped with a reason; the other clauses pass."""
    case = contract_on(SmallHarness)
    about_all_capabilities = {"test_undeclared_capabilities_raise", "test_publish_changes_requires_events"}
    for name, clause in clauses_of(StoreContract).items():
        if not clause.needs and name not in about_all_capabilities:
            getattr(case, name)()
        elif clause.needs:
            with pytest.raises(pytest.skip.Exception, match="not declared"):
                getattr(case, name)()


async def test_a_store_with_rooms_only_raises_for_other_parts() -> None:
    """A backend with rooms only raises NotSupportedError for other parts, and rejects publish_changes."""

    class RoomsOnly(BaseStore):
        """A store that sets no other part."""

        async def _ping(self) -> None:
            pass

        async def _close(self) -> None:
            pass

    store = RoomsOnly(StoreSettings(), Lifecycle())
    await all_raise(NotSupportedError, chat_calls(store.chat, "A"))
    await all_raise(NotSupportedError, connection_calls(store.connections, "ip", "c1"))
    await all_raise(NotSupportedError, rate_limit_calls(store.rate_limits, "ip"))
    await all_raise(NotSupportedError, event_calls(store.events, "A"))
    with pytest.raises(ConfigurationError, match="publish_changes requires a backend with events, and RoomsOnly"):
        RoomsOnly(StoreSettings(publish_changes=True), Lifecycle())


def test_a_working_undeclared_capability_fails() -> None:
    """A clause fails if a backend supports an undeclared capability, which would be untested."""

    class UndeclaredHarness(MemoryHarness):
        """A full backend that declares no capability."""

        capabilities = frozenset[Capability]()

    with pytest.raises(pytest.fail.Exception, match=r"add Capability\.CHAT to UndeclaredHarness\.capabilities"):
        contract_on(UndeclaredHarness).test_undeclared_capabilities_raise()


def test_missing_raw_access_raises() -> None:
    """The raw access of a harness without it raises NotSupportedError with the harness's name."""
    with pytest.raises(NotSupportedError, match="MemoryHarness"):
        assert MemoryHarness().raw


def test_a_contract_needs_a_harness() -> None:
    """Instantiating a contract without make_harness raises TypeError with the method's name."""

    class Case(StoreContract):
        """A contract without a harness."""

    with pytest.raises(TypeError, match="make_harness"):
        Case()  # type: ignore[abstract]  # pyright: ignore[reportAbstractUsage]


def test_a_hung_clause_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that hangs fails its clause after the time limit."""

    class HangingHarness(MemoryHarness):
        """A backend whose ping never returns."""

        def open_store(self, **settings: Any) -> Any:
            """Return a store whose ping hangs."""
            store: Any = super().open_store(**settings)
            store._ping = asyncio.Event().wait
            return store

    monkeypatch.setattr("wnc_store_contract.clause.TIME_LIMIT", 0.05)
    with pytest.raises(TimeoutError):
        contract_on(HangingHarness).test_ping_succeeds()


def test_stores_are_closed_when_a_clause_ends() -> None:
    """Every store that a clause has opened is closed before the harness."""
    opened: list[Store] = []
    states: list[str] = []

    class RecordingHarness(MemoryHarness):
        """A harness that records its stores."""

        def open_store(self, **settings: Any) -> Any:
            """Open and record a store."""
            opened.append(super().open_store(**settings))
            return opened[-1]

        async def aclose(self) -> None:
            """Record whether the stores are closed."""
            states.extend("closed" if store.closed else "open" for store in opened)

    contract_on(RecordingHarness).test_two_clients_share_data()
    assert states == ["closed", "closed"]
