"""Commands that are stopped by a signal."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from processes import SECONDS, WNC_STORE, start
from waiting import wait_until


def files(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
async def test_a_stopped_export_leaves_no_file(number: int, code: int, tmp_path: Path) -> None:
    """An export that receives SIGTERM or SIGINT removes its temporary file and prints nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with start(*WNC_STORE, "export", url, "--output", "rooms.jsonl", cwd=tmp_path) as process:
            await wait_until(lambda: files(tmp_path))
            connection, _ = silent.accept()
            process.send_signal(number)
            _, stderr = process.communicate(timeout=SECONDS)
            connection.close()
    assert (process.returncode, stderr) == (code, "")
    assert files(tmp_path) == []


SLOW = """
import asyncio
from pathlib import Path
from wnc_store_contract.memory import MemoryHarness

class Slow(MemoryHarness):
    closed = 0

    async def aclose(self):
        Slow.closed += 1
        if Slow.closed > 2:
            Path("started").touch()
            await asyncio.sleep(600)
"""


async def test_an_interrupted_verification_has_no_level(tmp_path: Path) -> None:
    """`verify` that is interrupted by Ctrl-C prints the number of finished clauses and no level."""
    (tmp_path / "slow_for_verify.py").write_text(SLOW)
    with start(*WNC_STORE, "verify", "--harness", "slow_for_verify:Slow", cwd=tmp_path) as process:
        await wait_until((tmp_path / "started").exists)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert (process.returncode, stdout) == (130, "")
    assert re.fullmatch(r"error: interrupted after [1-9]\d* of [1-9]\d+ clauses", stderr.strip())
