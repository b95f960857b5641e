"""Where the command line writes: what it replaces and what it leaves, and what it says of what can't be written."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from command_line import program, wnc_store
from few_clauses import few_clauses
from processes import WNC_STORE, run
from wnc_store import open_store
from wnc_store_contract.factories import message, room

FULL = "error: standard output can't be written: No space left on device\n"


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


def read(pipe: int) -> str:
    """Return what is in a pipe."""
    return os.read(pipe, 1 << 20).decode()


def test_a_pipe_is_written_through(url: str, tmp_path: Path) -> None:
    """An export into a FIFO reaches its reader, and the FIFO stays one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    wnc_store("export", url, "--output", str(fifo))
    assert fifo.is_fifo()
    assert is_whole(read(reader))
    os.close(reader)


@pytest.mark.parametrize("output", ["link", "/dev/fd/1", "-"])
def test_standard_output_by_any_name(url: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output may be named, and what it leads to is gone on with: not even a file is replaced."""
    (tmp_path / "link").symlink_to("/dev/fd/1")  # as /dev/stdout is, which is too good to be tried
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    program("export", url, "--output", output, stdout=writer)
    assert is_whole(read(reader))
    os.close(reader)
    os.close(writer)
    file = tmp_path / "rooms.jsonl"
    with file.open("wb", buffering=0) as stream:
        stream.write(b"before\n")
        program("export", url, "--output", output, stdout=stream.fileno())
    assert file.read_text().startswith("before\n")
    assert is_whole(file.read_text())


def test_a_process_can_be_written_to(url: str) -> None:
    """An export can go to another process, by the shell's name for it."""
    reader, writer = os.pipe()
    wnc_store("export", url, "--output", f"/dev/fd/{writer}")
    assert is_whole(read(reader))
    os.close(reader)
    os.close(writer)


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
def test_a_full_standard_output_is_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output takes no more, that is told in a line, last of all, and the exit code is 1."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    few_clauses(monkeypatch, "test_twenty_messages_are_kept")
    with Path("/dev/full").open("wb") as full:
        told = program(*command.split(), stdout=full.fileno(), code=1)
    assert told.endswith(FULL)
    assert "exported" not in told


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_program_ends_with_what_it_told(url: str) -> None:
    """Where standard output takes no more, the interpreter adds nothing to what was told when it ends."""
    with Path("/dev/full").open("wb") as full:
        assert run(*WNC_STORE, "rooms", "--url", url, stdout=full, code=1).stderr == FULL


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_told(url: str) -> None:
    """An export to a file that takes no more says so, and does not say that it exported."""
    told = wnc_store("export", url, "--output", "/dev/full", code=1).stderr
    assert told == "error: /dev/full can't be written: No space left on device\n"


def test_a_closed_standard_output_is_told(url: str) -> None:
    """An export to a standard output that is closed says so."""
    told = program("export", url, code=1)
    assert told == "error: standard output can't be written: it is closed\n"


def test_a_reader_who_has_gone_is_no_failure_to_tell_of(url: str) -> None:
    """Who pipes into a program that ends early sees no error."""
    reader, writer = os.pipe()
    os.close(reader)
    assert run(*WNC_STORE, "rooms", "--url", url, "--json", stdout=writer, code=1).stderr == ""
    os.close(writer)


@pytest.mark.parametrize("option", ["--json", "--chart"])
def test_a_benchmark_that_could_not_be_kept_does_not_begin(option: str, tmp_path: Path) -> None:
    """A file of `bench` in a folder that is not there is refused before a server is asked."""
    file = tmp_path / "none" / "run"
    told = wnc_store("bench", "redis://127.0.0.1:1/0", "--quick", option, str(file), code=2).stderr
    assert told == f"error: {file} can't be written: No such file or directory\n"
