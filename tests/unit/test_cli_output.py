"""Output of the command line: files, standard output, their errors, and commands that a signal stops."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from command_line import on_store, program, wnc_store
from processes import SECONDS, WNC_STORE, run, start
from waiting import wait_until
from wnc_store import ChatMessage, Room, StoreSettings, User, open_store
from wnc_store_contract.factories import message, room

FULL = "error: cannot write to standard output: No space left on device\n"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with a room, a room without messages, and a chat without its room."""
    store_url = f"sqlite://{tmp_path}/rooms.db"
    for room_id in ("A", "EMPTY"):
        on_store(store_url, lambda store, room_id=room_id: store.rooms.create_room(room(room_id)))
    for room_id in ("A", "CHAT"):
        on_store(store_url, lambda store, room_id=room_id: store.chat.add_message(message(1, room_id)))
    return store_url


def is_complete(lines: str) -> bool:
    """Return whether an export of the rooms has its footer."""
    return json.loads(lines.splitlines()[-1]) == {"rooms": 2, "messages": 1}


def read(pipe: int) -> str:
    """Return the content of a pipe."""
    return os.read(pipe, 1 << 20).decode()


def test_an_export_to_a_fifo(url: str, tmp_path: Path) -> None:
    """An export to a FIFO reaches its reader and does not replace the FIFO."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    wnc_store("export", url, "--output", str(fifo))
    assert fifo.is_fifo()
    assert is_complete(read(reader))
    os.close(reader)


@pytest.mark.parametrize("output", ["link", "/dev/fd/1", "-"])
def test_standard_output_by_any_name(url: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export to a name of standard output is appended to it, also if it is a file."""
    (tmp_path / "link").symlink_to("/dev/fd/1")  # like /dev/stdout, which the test must not risk to replace
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    program("export", url, "--output", output, stdout=writer)
    assert is_complete(read(reader))
    os.close(reader)
    os.close(writer)
    file = tmp_path / "rooms.jsonl"
    with file.open("wb", buffering=0) as stream:
        stream.write(b"before\n")
        program("export", url, "--output", output, stdout=stream.fileno())
    assert file.read_text().startswith("before\n")
    assert is_complete(file.read_text())


def test_a_link_stays_a_link(url: str, tmp_path: Path) -> None:
    """An export to a symbolic link creates or replaces the target of the link."""
    (tmp_path / "target").mkdir()
    file, link = tmp_path / "target" / "rooms.jsonl", tmp_path / "link"
    link.symlink_to("target/rooms.jsonl")
    for _ in range(2):
        wnc_store("export", url, "--output", str(link))
        assert link.is_symlink()
        assert is_complete(file.read_text())
        assert [path.name for path in file.parent.iterdir()] == ["rooms.jsonl"]
        file.write_text("old")


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_the_mode_of_a_target_is_kept(url: str, mode: int, tmp_path: Path) -> None:
    """An export through a symbolic link keeps the mode of the existing target."""
    file, link = tmp_path / "rooms.jsonl", tmp_path / "link"
    link.symlink_to(file)
    file.write_text("old")
    file.chmod(mode)
    wnc_store("export", url, "--output", str(link))
    assert is_complete(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_new_file_is_private(url: str, tmp_path: Path) -> None:
    """An export to a new file creates a file that only its owner can read, because it contains host tokens."""
    wnc_store("export", url, "--output", str(tmp_path / "rooms.jsonl"))
    assert stat.S_IMODE((tmp_path / "rooms.jsonl").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize(("name", "mode"), [("rooms.jsonl", 0o600), ("link", 0o640)])
def test_the_owner_of_a_file_is_kept(url: str, name: str, mode: int, tmp_path: Path) -> None:
    """An export to a file of another user and group keeps them, also through a symbolic link."""
    file = tmp_path / "rooms.jsonl"
    (tmp_path / "link").symlink_to(file)
    file.write_text("old")
    os.chown(file, 1234, 2345)
    file.chmod(0o640)
    wnc_store("export", url, "--output", str(tmp_path / name))
    assert is_complete(file.read_text())
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, mode)


def test_an_owner_that_cannot_be_kept(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that cannot keep the owner of the file exits 2, and leaves the file unchanged and no other file."""
    file = tmp_path / "out" / "rooms.jsonl"
    file.parent.mkdir()
    file.write_text("old")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)
    stderr = wnc_store("export", url, "--output", str(file), code=2).stderr
    assert stderr == f"error: cannot write to {file}: Operation not permitted\n"
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_cannot_be_opened_is_not_replaced(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the system does not open for writing, such as the target of a planted link, is not replaced."""
    file, link = tmp_path / "rooms.jsonl", tmp_path / "link"
    file.write_text("old")
    link.symlink_to(file)
    opened = os.open

    def refuse(path: object, flags: int, *more: Any, **options: Any) -> int:
        if path == link:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *more, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(os, "open", refuse)
    stderr = wnc_store("export", url, "--output", str(link), code=2).stderr
    assert stderr == f"error: cannot write to {link}: Permission denied\n"
    assert file.read_text() == "old"


@pytest.mark.parametrize("command", ["rooms", "show A", "chat A"])
def test_long_texts_are_cropped(command: str, tmp_path: Path) -> None:
    """Tables show the beginning of texts that the Node app stored without a limit; JSON contains all of them."""
    url = f"sqlite://{tmp_path}/long.db"
    settings = StoreSettings(max_name_length=1 << 20, max_url_length=1 << 20, max_message_length=1 << 20)
    long = "x" * 100_000

    async def fill() -> None:
        async with open_store(url, settings=settings) as store:
            host = User(id="u1", name=long)
            await store.rooms.create_room(Room.hosted_by(host, room_id="A").replace(video_url=long))
            await store.chat.add_message(ChatMessage(room_id="A", user_id="u1", user_name=long, message=long))

    asyncio.run(fill())
    shown = wnc_store(*command.split(), "--url", url, width=5000).stdout
    assert 500 < shown.count("x") < 5000
    assert "…" in shown
    assert long in wnc_store(*command.split(), "--url", url, "--json").stdout


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """An export to a folder exits 2 before the store is opened."""
    stderr = wnc_store("export", "memory://", "--output", str(tmp_path), code=2).stderr
    assert stderr == f"error: cannot write to {tmp_path}: Is a directory\n"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "command",
    [
        "export",
        "rooms",
        "rooms --json",
        "demo",
        "top --once --json",
        "top --once",
        "verify memory:// --only ping_succeeds --json",
    ],
)
def test_a_full_standard_output_is_reported(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If standard output is full, the last line of standard error reports it, and the exit code is 1."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    with Path("/dev/full").open("wb") as full:
        stderr = program(*command.split(), stdout=full.fileno(), code=1)
    assert stderr.endswith(FULL)
    assert "Exported" not in stderr


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_standard_output_is_reported_once(url: str) -> None:
    """If standard output is full, the interpreter reports no second error at exit."""
    with Path("/dev/full").open("wb") as full:
        assert run(*WNC_STORE, "rooms", "--url", url, stdout=full, code=1).stderr == FULL


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_reported(url: str) -> None:
    """An export to a full device reports the error and no success."""
    stderr = wnc_store("export", url, "--output", "/dev/full", code=1).stderr
    assert stderr == "error: cannot write to /dev/full: No space left on device\n"


def test_a_closed_standard_output_is_reported(url: str) -> None:
    """An export to a closed standard output exits 1 with the reason."""
    stderr = program("export", url, code=1)
    assert stderr == "error: cannot write to standard output: the stream is closed\n"


def test_a_closed_pipe_is_not_reported(url: str) -> None:
    """If the reader of a pipe has exited, the command prints no error."""
    reader, writer = os.pipe()
    os.close(reader)
    assert run(*WNC_STORE, "rooms", "--url", url, "--json", stdout=writer, code=1).stderr == ""
    os.close(writer)


@pytest.mark.parametrize("option", ["--output", "--chart"])
def test_bench_checks_its_output_files_first(option: str, tmp_path: Path) -> None:
    """`bench` refuses an output file in a missing folder before it connects to a server."""
    file = tmp_path / "none" / "run"
    stderr = wnc_store("bench", "redis://127.0.0.1:1/0", "--quick", option, str(file), code=2).stderr
    assert stderr == f"error: cannot write to {file}: No such file or directory\n"


def test_a_missing_chat(url: str) -> None:
    """`chat` exits 1 if neither the room nor its chat exists, and 0 for a room without messages."""
    assert "room 'nope' not found" in wnc_store("chat", "nope", "--url", url, code=1).stderr
    assert wnc_store("chat", "nope", "--url", url, "--json", code=1).stdout == "[]\n"
    assert "No messages in EMPTY." in wnc_store("chat", "EMPTY", "--url", url).stdout
    assert "1 message in CHAT" in wnc_store("chat", "CHAT", "--url", url).stdout


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
import os
from pathlib import Path
from wnc_store_contract.memory import MemoryHarness

class Slow(MemoryHarness):
    tests = set()

    async def aclose(self):
        Slow.tests.add(os.environ.get("PYTEST_CURRENT_TEST"))
        if len(Slow.tests) > 3:  # two clauses have ended
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
    assert re.fullmatch(r"error: interrupted after 2 of [1-9]\d+ clauses", stderr.strip())
