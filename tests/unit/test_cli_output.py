"""Where the command line writes: what it replaces and what it leaves, and what it says of what can't be written."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from wnc_store import open_store
from wnc_store.cli.app import app
from wnc_store_contract.samples import message, room

WNC_STORE = f"{shlex.quote(sys.executable)} -c 'from wnc_store.cli import main; main()'"
FULL = "standard output can't be written: No space left on device"


def wnc_store(*arguments: str, code: int = 0) -> Result:
    """Run the command line in this process."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def in_shell(line: str, code: int = 0) -> tuple[str, str]:
    """Run a line in a shell; return what it prints and what it tells."""
    command = ["/bin/bash", "-c", line]
    wide = {**os.environ, "COLUMNS": "200", "WNC_STORE_URL": "memory://"}
    done = subprocess.run(command, env=wide, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with one room."""
    where = f"sqlite://{tmp_path}/rooms.db"

    async def fill() -> None:
        async with open_store(where) as store:
            await store.rooms.create_room(room("A"))
            await store.chat.add_message(message(1, "A"))

    asyncio.run(fill())
    return where


def is_whole(lines: str) -> bool:
    """Tell whether an export of the one room came to its end."""
    return json.loads(lines.splitlines()[-1]) == {"rooms": 1, "messages": 1}


def test_a_pipe_is_written_through(url: str, tmp_path: Path) -> None:
    """An export into a FIFO reaches its reader, and the FIFO stays one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    wnc_store("export", url, "--output", str(fifo))
    reader.join(10)
    assert fifo.is_fifo()
    assert is_whole(read[0])


@pytest.mark.parametrize("output", ["link", "/dev/fd/1", "-"])
def test_standard_output_by_any_name(url: str, output: str, tmp_path: Path) -> None:
    """Standard output may be named, and what it leads to is gone on with: not even a file is replaced."""
    file = tmp_path / "rooms.jsonl"
    (tmp_path / "link").symlink_to("/dev/fd/1")  # as /dev/stdout is, which is too good to be tried
    export = f"cd {shlex.quote(str(tmp_path))}; {WNC_STORE} export {shlex.quote(url)} --output {output}"
    assert is_whole(in_shell(f"({export}) | cat")[0])
    in_shell(f"(echo before; {export}) > {shlex.quote(str(file))}")
    assert file.read_text().startswith("before\n")
    assert is_whole(file.read_text())


def test_a_process_can_be_written_to(url: str) -> None:
    """An export can go to another process, by the shell's name for it."""
    _, told = in_shell(f"{WNC_STORE} export {shlex.quote(url)} --output >(cat >&2)")
    assert '{"rooms":1,"messages":1}' in told


def test_a_link_stays_a_link(url: str, tmp_path: Path) -> None:
    """An export to a symbolic link replaces the file that it leads to, or makes it."""
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "rooms.jsonl", tmp_path / "link"
    link.symlink_to("there/rooms.jsonl")
    for _ in range(2):
        wnc_store("export", url, "--output", str(link))
        assert link.is_symlink()
        assert is_whole(file.read_text())
        assert [path.name for path in file.parent.iterdir()] == ["rooms.jsonl"]
        file.write_text("of old")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """An export to a folder is a mistake in the command, and told before anything is asked of the store."""
    told = wnc_store("export", "memory://", "--output", str(tmp_path), code=2).stderr
    assert told == f"error: {tmp_path} can't be written: Is a directory\n"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "command", ["export", "rooms", "rooms --json", "demo", "top --once --json", "top --once", "verify memory:// --json"]
)
def test_a_full_standard_output_is_told(command: str) -> None:
    """Where standard output takes no more, that is told in a line, last of all, and the exit code is 1."""
    _, told = in_shell(f"{WNC_STORE} {command} >/dev/full", code=1)
    assert told.splitlines()[-1] == f"error: {FULL}"
    assert "Traceback" not in told
    assert "exported" not in told


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_told(url: str) -> None:
    """An export to a file that takes no more says so, and does not say that it exported."""
    told = wnc_store("export", url, "--output", "/dev/full", code=1).stderr
    assert told == "error: /dev/full can't be written: No space left on device\n"


def test_a_closed_standard_output_is_told(url: str) -> None:
    """An export to a standard output that is closed says so."""
    assert (
        "standard output can't be written: it is closed"
        in in_shell(f"{WNC_STORE} export {shlex.quote(url)} >&-", code=1)[1]
    )


def test_a_reader_who_has_gone_is_no_failure_to_tell_of(url: str) -> None:
    """Who pipes into a program that ends early sees no error."""
    read, told = in_shell(
        f"{WNC_STORE} rooms --url {shlex.quote(url)} --json | (exec 0<&-; sleep 2); echo ${{PIPESTATUS[0]}}"
    )
    assert (read, told) == ("1\n", "")


@pytest.mark.parametrize("option", ["--json", "--chart"])
def test_a_benchmark_that_could_not_be_kept_does_not_begin(option: str, tmp_path: Path) -> None:
    """A file of `bench` in a folder that is not there is refused before a server is asked."""
    file = tmp_path / "none" / "run"
    told = wnc_store("bench", "redis://127.0.0.1:1/0", "--quick", option, str(file), code=2).stderr
    assert told.replace("\n", " ").strip() == f"error: {file} can't be written: No such file or directory"
