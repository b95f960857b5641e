"""No test file, pytest configuration or plugin makes a failed or skipped clause green."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from processes import run
from wnc_store_contract import StoreContract, clauses_of

pytest_plugins = ["pytester"]

CONTRACT_FILE = """
import pytest
from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness

class TestMine(StoreContract):
    def make_harness(self):
        return MemoryHarness()
"""

CLAUSES = clauses_of(StoreContract)


@pytest.fixture(name="run_pytest")
def _run_pytest(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run a test file in this process, with its own configuration and conftest file."""

    def run_file(text: str, *options: str, conftest: str = "", ini: str = "") -> pytest.RunResult:
        pytester.makepyfile(test_mine=text)
        pytester.makeconftest(conftest)
        pytester.makeini(f"[pytest]\n{ini}")
        isolated = ("cacheprovider", "faulthandler", "valkey", "asyncio", "anyio", "xdist", "cov", "timeout")
        return pytester.runpytest_inprocess("-q", *(f"-pno:{name}" for name in isolated), *options)

    return run_file


SKIP_FIXTURE = """
@pytest.fixture(autouse=True)
def _skip():
    pytest.skip("later")
"""

NOT_RUN = {
    "skip mark of the module": ("pytestmark = pytest.mark.skip(reason='later')", ""),
    "skipif mark of the module": ("pytestmark = pytest.mark.skipif(True, reason='later')", ""),
    "xfail mark of the module": ("pytestmark = pytest.mark.xfail(reason='later')", ""),
    "xfail mark that does not run": ("pytestmark = pytest.mark.xfail(reason='later', run=False)", ""),
    "fixture": (SKIP_FIXTURE, ""),
    "fixture of a conftest file": ("", f"import pytest\n{SKIP_FIXTURE}"),
    "setup_method": ("    def setup_method(self):\n        pytest.skip('later')\n", ""),
    "setup_class": ("    @classmethod\n    def setup_class(cls):\n        pytest.skip('later')\n", ""),
    "setup_module": ("def setup_module():\n    pytest.skip('later')\n", ""),
    "setup hook": ("", "import pytest\ndef pytest_runtest_setup():\n    pytest.skip('later')\n"),
    "call hook": ("", "def pytest_pyfunc_call():\n    return True\n"),
    "marking hook": (
        "",
        """
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip(reason="later"))
""",
    ),
    "replaced method": (
        """
    def __getattribute__(self, name):
        return (lambda: None) if name.startswith("test_") else super().__getattribute__(name)
""",
        "",
    ),
}


@pytest.mark.parametrize(("text", "conftest"), NOT_RUN.values(), ids=NOT_RUN)
def test_a_clause_must_run(run_pytest: Callable[..., pytest.RunResult], text: str, conftest: str) -> None:
    """A clause that a decorator, fixture or hook skips or expects to fail, fails, and the message names it."""
    result = run_pytest(f"{CONTRACT_FILE}\n{text}", "-k", "ping_succeeds", conftest=conftest)
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    assert set(result.parseoutcomes()) - {"error", "errors", "failed"} == {"deselected"}
    assert "the contract's test_ping_succeeds was " in result.stdout.str()


FAILING_FILE = CONTRACT_FILE.replace("return MemoryHarness()", "raise RuntimeError('no server')")
PASSING_HOOK = """
import pytest

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    report = yield
    report.outcome, report.longrepr = {!r}, None
    return report
"""


@pytest.mark.parametrize("outcome", ["passed", "skipped"])
def test_a_failure_must_be_reported(run_pytest: Callable[..., pytest.RunResult], outcome: str) -> None:
    """A failed clause that a hook reports as passed or skipped fails."""
    result = run_pytest(FAILING_FILE, "-k", "ping_succeeds", conftest=PASSING_HOOK.format(outcome))
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    assert f"test_ping_succeeds was {'failed' if outcome == 'passed' else 'not run'}" in result.stdout.str()


DESELECTION = "def pytest_collection_modifyitems(items):\n    items[:] = items[:3]\n"
NOT_COLLECTED = {
    "hook": (DESELECTION, "", ""),
    "announced deselection": (
        """
def pytest_collection_modifyitems(config, items):
    config.hook.pytest_deselected(items=items[3:])
    items[:] = items[:3]
""",
        "",
        "",
    ),
    "addopts": ("", "addopts = -k ping_succeeds", ""),
    "environment": ("", "", "-k ping_succeeds"),
    "python_functions": ("", "python_functions = test_ping*", ""),
}


@pytest.mark.parametrize(("conftest", "ini", "options"), NOT_COLLECTED.values(), ids=NOT_COLLECTED)
def test_only_the_command_line_selects_clauses(
    run_pytest: Callable[..., pytest.RunResult],
    conftest: str,
    ini: str,
    options: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run from which a conftest file, the configuration or the environment removes clauses fails."""
    monkeypatch.setenv("PYTEST_ADDOPTS", options)
    result = run_pytest(CONTRACT_FILE, conftest=conftest, ini=ini)
    assert result.ret is pytest.ExitCode.USAGE_ERROR
    assert f"of the {len(CLAUSES)} clauses of TestMine are not selected" in result.stderr.str()


NO_RESULT = {
    "protocol": "def pytest_runtest_protocol():\n    return True\n",
    "loop": "def pytest_runtestloop():\n    return True\n",
    "exit": "import pytest\ndef pytest_runtest_setup():\n    pytest.exit('enough', returncode=0)\n",
    "late deselection": "def pytest_collection_finish(session):\n    del session.items[1:]\n",
}


@pytest.mark.parametrize("conftest", NO_RESULT.values(), ids=NO_RESULT)
def test_every_clause_needs_a_result(run_pytest: Callable[..., pytest.RunResult], conftest: str) -> None:
    """A run that ends as successful without a result of each selected clause fails."""
    text = f"def test_unrelated(): pass\n{CONTRACT_FILE}"
    result = run_pytest(text, "-k", "unrelated or ping_succeeds", conftest=conftest)
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    assert "ERROR: results of clauses of the contract are missing: 1" in result.stdout.str()


def test_python_must_not_remove_assertions(tmp_path: Path) -> None:
    """A contract cannot be collected if Python removes assertions."""
    (tmp_path / "test_mine.py").write_text(CONTRACT_FILE)
    plugins = ("-p", "no:cacheprovider", "-p", "no:asyncio")
    done = run(sys.executable, "-O", "-m", "pytest", "-q", *plugins, "test_mine.py", cwd=tmp_path, code=2)
    assert "cannot run with python -O" in done.stdout
