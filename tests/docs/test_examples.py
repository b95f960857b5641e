"""The examples that have no test of their own elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from redis_server import RedisServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    """Run Python in a folder, and return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own examples
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_the_quickstart_runs(where: str, redis_server: RedisServer) -> None:
    """The quickstart prints the room's host, its users and its chat, in memory and on Redis."""
    url = "memory://" if where == "memory" else redis_server.url.replace("/0", "/4")
    assert run("quickstart.py", cwd=EXAMPLES, WNC_STORE_URL=url) == "Ada ['Ada', 'Grace']\n['hello']\n"


def test_the_sqlite_backend_keeps_the_contract() -> None:
    """The third-party backend's own tests pass, run as a stranger would: in its folder."""
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=EXAMPLES / "third_party_backend")
    assert " passed" in told


def test_the_sqlite_contract_is_short() -> None:
    """The whole file that runs the contract on the third-party backend has fewer than 25 lines."""
    text = (EXAMPLES / "third_party_backend/tests/test_contract.py").read_text()
    assert "StoreContract" in text
    assert len(text.splitlines()) < 25
