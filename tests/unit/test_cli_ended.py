"""What a command leaves behind, and says, that is ended before its end."""

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
async def test_an_export_that_is_ended_leaves_no_file(number: int, code: int, tmp_path: Path) -> None:
    """An export that is told to end removes the file that it has begun, without a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SECONDS)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with start(*WNC_STORE, "export", url, "--output", "rooms.jsonl", cwd=tmp_path) as process:
            await wait_until(lambda: files(tmp_path))
            connection, _ = silent.accept()
            process.send_signal(number)
            _, told = process.communicate(timeout=SECONDS)
            connection.close()
    assert (process.returncode, told) == (code, "")
    assert files(tmp_path) == []


SLOW = """
import asyncio
from pathlib import Path
from wnc_store_contract.memory import MemoryHarness

class Slow(MemoryHarness):
    made = 0

    async def aclose(self):
        Slow.made += 1
        if Slow.made > 2:
            Path("begun").touch()
            await asyncio.sleep(600)
"""


async def test_a_verification_that_is_interrupted_has_no_level(tmp_path: Path) -> None:
    """`verify` that is ended by Ctrl-C says after how many clauses, and nothing of a level."""
    (tmp_path / "slow_for_verify.py").write_text(SLOW)
    with start(*WNC_STORE, "verify", "--harness", "slow_for_verify:Slow", cwd=tmp_path) as process:
        await wait_until((tmp_path / "begun").exists)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=SECONDS)
    assert (process.returncode, printed) == (130, "")
    assert re.fullmatch(r"error: interrupted after [1-9]\d* of [1-9]\d+ clauses", told.strip())
