"""Files that commands read and write."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from wnc_store.cli.output import Exit
from wnc_store.cli.runtime import fail
from wnc_store.cli.sinks import STANDARD_OUTPUT, OutputError, text_sink

STANDARD = Path("-")
"""Standard input, or standard output."""

_OPEN_ALREADY = Path("/proc/self/fd")


@contextmanager
def open_input(file: Path) -> Generator[IO[bytes]]:
    """Yield what can be read twice: a file, or what came through a pipe."""
    if file == STANDARD:
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - it is, if it was closed
            fail("standard input can't be read: it is closed", Exit.USAGE)
        with _kept(sys.stdin.buffer) as kept:
            yield kept
        return
    try:
        found = file.open("rb")
    except OSError as error:
        fail(f"{file} can't be read: {error.strerror}", Exit.USAGE)
    with found:
        if found.seekable():
            yield found
            return
        with _kept(found) as kept:
            yield kept


@contextmanager
def open_output(output: Path | None) -> Generator[IO[str]]:
    """Yield what to write to: standard output, what is no regular file as it is, or else a new file.

    That takes its place only when it is whole; until then, and if that fails, nothing is changed.

    Raises:
        OutputError: it takes no more.
    """
    if output is None or output == STANDARD:
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - it is, if it was closed
            raise OutputError(STANDARD_OUTPUT, "it is closed")
        yield sys.stdout
        return
    try:
        descriptor = _opened_as_it_is(output)
    except OSError as error:
        fail(f"{output} can't be written: {error.strerror}", Exit.USAGE)
    with _replaced(output) if descriptor is None else text_sink(descriptor, str(output)) as file:
        yield file


def ensure_writable(file: Path) -> None:
    """Refuse a command, before it begins, whose file could not be written at its end."""
    place = file if file.exists() else file.parent
    if not place.exists():
        fail(f"{file} can't be written: {os.strerror(errno.ENOENT)}", Exit.USAGE)
    if not os.access(place, os.W_OK):
        fail(f"{file} can't be written: {os.strerror(errno.EACCES)}", Exit.USAGE)


@contextmanager
def _kept(stream: IO[bytes]) -> Generator[IO[bytes]]:
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(stream, kept)
        yield kept


def _opened_as_it_is(output: Path) -> int | None:
    """Open what is there, unless it is a file, or nothing: a pipe or a device must not make room for a file."""
    number = _open_already(output)
    if number is not None:
        return os.dup(number)
    return os.open(output, os.O_WRONLY) if output.exists() and not output.is_file() else None


def _open_already(path: Path) -> int | None:
    """Return the number of what this process has open and the path leads to, as /dev/stdout and /dev/fd/63 do."""
    while path.is_symlink():
        if path.parent.resolve() == _OPEN_ALREADY.resolve():
            return int(path.name)
        path = path.parent / path.readlink()
    return None


@contextmanager
def _replaced(output: Path) -> Generator[IO[str]]:
    """Yield a file beside the one that it replaces when it is whole; a link stays, and leads to the new file."""
    target = output.resolve()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    except OSError as error:
        fail(f"{output} can't be written: {error.strerror}", Exit.USAGE)
    with _removed_at_last(Path(name)):
        with text_sink(descriptor, str(output)) as file:
            yield file
        _take_place(Path(name), target)


@contextmanager
def _removed_at_last(file: Path) -> Generator[None]:
    """Remove a file if it is still there, even if SIGTERM comes: nothing else would, and it holds host tokens."""

    def end(number: int, _frame: object) -> None:
        file.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    can_be_handled = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if can_be_handled else None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if can_be_handled:
            signal.signal(signal.SIGTERM, before)


def _take_place(whole: Path, target: Path) -> None:
    try:
        whole.replace(target)
    except OSError as error:
        raise OutputError(str(target), error.strerror) from None
