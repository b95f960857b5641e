"""README: what it shows runs, and what it links to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from redis_server import RedisServer
from wnc_store import StoreSettings
from wnc_store.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SNIPPETS = PYTHON.findall(README)
PAGES = [path for path in ROOT.glob("**/*.md") if not re.search(r"node_modules|\.venv|/\.", str(path))]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number: int, tmp_path: Path) -> None:
    """Each Python snippet of the README runs by itself; one that defines tests passes under pytest."""
    (tmp_path / "test_snippet.py").write_text(SNIPPETS[number])
    command = [sys.executable, "-W", "error", "test_snippet.py"]
    if "class Test" in SNIPPETS[number]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:asyncio",
            "test_snippet.py",
        ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_snippets_are_found() -> None:
    """The README shows a first room, the guards and the contract."""
    assert len(SNIPPETS) == 3
    assert "open_store" in SNIPPETS[0]


def test_only_the_readme_shows_python() -> None:
    """No other page shows a Python snippet, which nothing would run."""
    assert [page.name for page in PAGES if page != ROOT / "README.md" and PYTHON.search(page.read_text())] == []


def test_the_verify_command_runs(redis_server: RedisServer) -> None:
    """The command that the README shows passes on an empty database."""
    assert "`wnc-store verify redis://localhost:6379/9`" in README
    where = redis_server.url.replace("/0", "/9")
    assert CliRunner().invoke(app, ["verify", where]).exit_code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of each page leads to a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_settings_table_is_whole() -> None:
    """The page on settings names each of them with its variable."""
    page = (ROOT / "docs/settings.md").read_text()
    for name in StoreSettings.model_fields:
        assert f"| `{name}` | `WNC_STORE_{name.upper()}` |" in page


def test_the_readme_is_short() -> None:
    """The README has about 120 lines."""
    assert len(README.splitlines()) <= 140
