"""Runs of `wnc-store verify` on harnesses that are wrong, fail, or end the process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import simulated_connection
from command_line import wnc_store
from processes import run

FAULTS = ("--faults", "60", "--no-clauses")
"""The calls under faults only. The tests end long before the last second, with a violation or an error."""

WriteModule = Callable[[str, str], object]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteModule:
    """Write a module with a name and a source to the working directory, which is temporary."""
    monkeypatch.chdir(tmp_path)
    return lambda name, source: (tmp_path / f"{name}.py").write_text(source)


def test_a_skipping_harness_is_refused_by_verify(write_module: WriteModule) -> None:
    """`verify` exits 2 with one line if a harness skips when it is made."""
    write_module(
        "skips_for_verify",
        "import pytest\n"
        "from wnc_store_contract.memory import MemoryHarness\n"
        "class Skips(MemoryHarness):\n"
        "    def __init__(self):\n"
        "        pytest.skip('no server here')\n",
    )
    assert wnc_store("verify", "--harness", "skips_for_verify:Skips", code=2).stderr == (
        "error: a harness or store must not skip, xfail or end a clause, but raised Skipped: no server here, in "
        "__init__ (skips_for_verify.py:5)\n"
    )


def test_verify_reports_a_wrong_harness(write_module: WriteModule) -> None:
    """The report of `verify` states that the other results depend on the failed clause about the harness."""
    write_module(
        "standing_for_verify",
        "from wnc_store_contract.memory import MemoryHarness\n"
        "class Standing(MemoryHarness):\n"
        "    async def advance(self, seconds):\n"
        "        pass\n",
    )
    only = ("--only", "advance_moves", "--only", "ping_succeeds")
    shown = wnc_store("verify", "--harness", "standing_for_verify:Standing", *only, code=1).stdout
    assert "    harness.py:" in shown
    assert "the harness is wrong: advance(43200) must move the time" in shown
    assert "error: the other results depend on test_advance_moves_the_time_of_the_data: correct this first\n" in shown


FAILING = """
from wnc_store_contract.memory import MemoryHarness

class Failing(MemoryHarness):
    async def advance(self, seconds):
        raise RuntimeError("time stands still")
"""


def test_a_failing_harness_is_reported_once(write_module: WriteModule) -> None:
    """The same error of a harness in several clauses is one line with the place, after the number of clauses."""
    write_module("failing_harness", FAILING)
    only = ("--only", "the_id_of_an_expired_room", "--only", "writes_ignore_an_expired_room")
    shown = wnc_store("verify", "--harness", "failing_harness:Failing", *only, code=1).stdout
    assert shown.startswith(
        "failed test_writes_ignore_an_expired_room and 1 other clause\n"
        "    the harness failed: RuntimeError: time stands still, in advance (failing_harness.py:6)\n"
        "level: none "
    )


def test_a_harness_module_that_fails_is_one_line(write_module: WriteModule) -> None:
    """`verify` exits 2 with one line that names the error and its place if the harness's module cannot be imported."""
    write_module("failing_import", "limit = 1\nlimit / 0\n")
    assert wnc_store("verify", "--harness", "failing_import:Mine", code=2).stderr == (
        "error: importing the harness 'failing_import:Mine' failed: ZeroDivisionError: division by zero "
        "(failing_import.py:2)\n"
    )


def test_a_harness_may_import_from_the_working_directory_later(write_module: WriteModule) -> None:
    """Modules of the working directory are importable while the clauses run, too."""
    write_module("my_settings", "PREFIX = 'mine:'\n")
    write_module(
        "late_import",
        "from wnc_store_contract.memory import MemoryHarness\n"
        "class Late(MemoryHarness):\n"
        "    def open_store(self, **settings):\n"
        "        from my_settings import PREFIX\n"
        "        return super().open_store(**{'key_prefix': PREFIX, **settings})\n",
    )
    wnc_store("verify", "--harness", "late_import:Late", "--only", "ping_succeeds")


EXITS = """
import os
from wnc_store_contract.memory import MemoryHarness

class AtStart(MemoryHarness):
    def __init__(self):
        os._exit(0)

class Later(MemoryHarness):
    made = 0

    def __init__(self):
        super().__init__()
        Later.made += 1
        if Later.made > 2:
            os._exit(0)
"""


@pytest.mark.parametrize(
    ("harness", "place"),
    [
        ("AtStart", "before the first clause; results of 2 of 2"),
        ("Later", "during test_closing_twice_has_no_effect; results of 1 of 2"),
    ],
)
def test_a_backend_cannot_end_the_report(harness: str, place: str, write_module: WriteModule) -> None:
    """`verify` reports the level none if the backend ends the process of the clauses, also with exit code 0."""
    write_module("exits_for_verify", EXITS)
    only = ("--only", "ping_succeeds", "--only", "closing_twice_has_no_effect")
    shown = wnc_store("verify", "--harness", f"exits_for_verify:{harness}", *only, code=1).stdout
    assert f"error: the process that ran the clauses ended with exit code 0 {place} clauses are missing\n" in shown
    assert "level: none" in shown


UNDER_FAULTS = """
import os
import sys
sys.path.insert(0, {helpers!r})
from broken_stores.disconnected import CountsTwice
from simulated_connection import SimulatedHarness

class Right(SimulatedHarness):
    pass

class Wrong(SimulatedHarness):
    def __init__(self):
        super().__init__(CountsTwice)

class Ends(SimulatedHarness):
    async def disconnect(self):
        os._exit(0)

class Fails(SimulatedHarness):
    async def disconnect(self):
        raise RuntimeError("no route")
    restart = disconnect
"""


@pytest.fixture
def _harnesses(write_module: WriteModule) -> None:
    """A module of harnesses in the working directory."""
    helpers = str(Path(simulated_connection.__file__).parent)
    write_module("under_faults", UNDER_FAULTS.format(helpers=helpers))


@pytest.mark.usefixtures("_harnesses")
def test_a_violation_under_faults_is_shown() -> None:
    """`verify --faults` exits 1 and prints the rule, the key, the calls that contradict, and the seed."""
    shown = wnc_store("verify", "--harness", "under_faults:Wrong", *FAULTS, "--seed", "3", code=1).stdout
    assert shown.startswith("violated: each acknowledged hit is counted exactly once")
    assert "    key faults-3-" in shown
    assert "    * " in shown
    assert " hit: " in shown
    assert "\nfaults: 1 violation in " in shown
    assert "; repeat with --seed 3\n" in shown
    assert "level: none" in shown


@pytest.mark.usefixtures("_harnesses")
def test_a_violation_under_faults_is_in_the_json_report() -> None:
    """`verify --faults --json` prints the violations with their histories, the counts and the seed."""
    shown = wnc_store("verify", "--harness", "under_faults:Wrong", *FAULTS, "--seed", "3", "--json", code=1).stdout
    report = json.loads(shown)
    assert report["level"] == "none"
    (violation,) = report["faults"]["violations"]
    assert violation["key"].startswith("faults-3-")
    assert any(line.startswith("* ") for line in violation["history"])
    assert report["faults"]["seed"] == 3
    assert min(report["faults"][count] for count in ("operations", "faults", "unknown", "refused")) > 0


@pytest.mark.usefixtures("_harnesses")
def test_faults_follow_the_clauses() -> None:
    """`verify --faults` runs the clauses first, and without a violation the level is that of the clauses."""
    options = ("--only", "ping_succeeds", "--faults", "0.1")
    shown = wnc_store("verify", "--harness", "under_faults:Right", *options).stdout
    assert shown.startswith("faults: no violation in ")
    assert "level: selected (1 passed;" in shown
    assert (
        "level: selected"
        in wnc_store("verify", "--harness", "under_faults:Right", "--no-clauses", "--faults", "0.1").stdout
    )


@pytest.mark.usefixtures("_harnesses")
def test_a_backend_that_ends_under_faults_is_reported() -> None:
    """`verify` reports the level none if the process ends or the harness fails."""
    shown = wnc_store("verify", "--harness", "under_faults:Ends", *FAULTS, code=1).stdout
    assert "error: the process ended with exit code 0 while it ran calls under faults\n" in shown
    shown = wnc_store("verify", "--harness", "under_faults:Fails", *FAULTS, code=1).stdout
    assert shown.startswith("error: the harness failed: RuntimeError: no route, in disconnect (under_faults.py:21)\n")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--faults", "1"), "error: faults require Capability.DISCONNECT, which MemoryHarness does not declare: "),
        (("--seed", "1"), "error: --no-clauses and --seed require --faults SECONDS\n"),
        (("--no-clauses",), "error: --no-clauses and --seed require --faults SECONDS\n"),
        ((*FAULTS, "--only", "ping"), "error: --only selects clauses, and --no-clauses runs none: use one of them\n"),
    ],
)
def test_options_of_faults_are_checked(options: tuple[str, ...], error: str) -> None:
    """`verify` exits 2 if faults are impossible, or if its options contradict, before a clause runs."""
    assert wnc_store("verify", "memory://", *options, code=2).stderr.startswith(error)


def test_verify_ignores_pytest_configuration(tmp_path: Path) -> None:
    """`verify` ignores the working directory's conftest and configuration files, and pytest's environment variables."""
    (tmp_path / "conftest.py").write_text("raise RuntimeError\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -k nothing\n")
    environment = {"PYTEST_ADDOPTS": "-k nothing", "PYTEST_PLUGINS": "no_such_plugin", "PYTHONOPTIMIZE": "1"}
    command = (
        sys.executable,
        "-c",
        "from wnc_store.cli import main; main()",
        "verify",
        "memory://",
        "--only",
        "ping_succeeds",
    )
    done = run(*command, cwd=tmp_path, env={**os.environ, **environment})
    assert done.stdout.startswith("level: selected (1 passed;")
