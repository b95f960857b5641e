"""What a command leaves behind, and says, that is ended before its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def begun(folder: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run a command, which is killed at last."""
    command = [sys.executable, "-W", "error", "-c", "from wnc_store.cli import main; main()", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


def wait_for(there: Callable[[], object]) -> None:
    """Return when something is there."""
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_an_export_that_is_ended_leaves_no_file(number: int, code: int, tmp_path: Path) -> None:
    """An export that is told to end removes the file that it has begun, without a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with begun(tmp_path, "export", url, "--output", "rooms.jsonl") as process:
            wait_for(lambda: list(tmp_path.iterdir()))
            connection, _ = silent.accept()
            process.send_signal(number)
            _, told = process.communicate(timeout=30)
            connection.close()
    assert (process.returncode, told) == (code, "")
    assert list(tmp_path.iterdir()) == []


SLOW = """
import asyncio
from pathlib import Path
from wnc_store_contract.memory import MemoryHarness

class Slow(MemoryHarness):
    async def advance(self, seconds):
        Path("begun").touch()
        await asyncio.sleep(60)
"""


def test_a_verification_that_is_interrupted_has_no_level(tmp_path: Path) -> None:
    """`verify` that is ended by Ctrl-C says after how many clauses, and nothing of a level."""
    (tmp_path / "slow_for_verify.py").write_text(SLOW)
    with begun(tmp_path, "verify", "--harness", "slow_for_verify:Slow") as process:
        wait_for((tmp_path / "begun").exists)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=30)
    assert (process.returncode, printed) == (130, "")
    assert re.fullmatch(r"error: interrupted after [1-9]\d* of [1-9]\d+ clauses", told.strip())
