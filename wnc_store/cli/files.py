"""Input and output files of commands."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO

from wnc_store.cli.output import Exit
from wnc_store.cli.runtime import fail
from wnc_store.cli.sinks import STANDARD_OUTPUT, OutputError, text_sink

STANDARD = Path("-")
"""The file name that means standard input or standard output."""

_OPEN_DESCRIPTORS = Path("/proc/self/fd")


@contextmanager
def open_input(file: Path) -> Generator[IO[bytes]]:
    """Yield a seekable binary stream of a file. Input from a pipe is copied to a temporary file first."""
    if file == STANDARD:
        if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - None if the stream is closed
            fail("cannot read standard input: the stream is closed", Exit.USAGE)
        with _copied(sys.stdin.buffer) as copy:
            yield copy
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}", Exit.USAGE)
    with stream, nullcontext(stream) if stream.seekable() else _copied(stream) as seekable:
        yield seekable


@contextmanager
def open_output(output: Path | None) -> Generator[IO[str]]:
    """Yield a text stream for the output.

    Standard output, pipes and devices are written directly. A regular file is replaced atomically when the context
    ends without an error; until then the old file is unchanged. The new file has the owner of the old one and the
    mode 0600. Through a symbolic link, the target of the link is replaced, and its mode is kept, too.

    Raises:
        OutputError: A write failed.
    """
    if output is None or output == STANDARD:
        if sys.stdout is None:  # pyright: ignore[reportUnnecessaryComparison] - None if the stream is closed
            raise OutputError(STANDARD_OUTPUT, "the stream is closed")
        yield sys.stdout
        return
    old: os.stat_result | None = None
    descriptor: int | None = None
    try:
        own = _own_descriptor(output)
        # Opening the file, not only replacing it, lets the system check its permissions and refuse planted links.
        descriptor = os.open(output, os.O_WRONLY) if own is None else os.dup(own)
        status = os.fstat(descriptor)
        if own is None and stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            old, descriptor = status, None
    except FileNotFoundError:
        pass
    except OSError as error:
        fail(f"cannot write to {output}: {error.strerror}", Exit.USAGE)
    with _replaced(output, old) if descriptor is None else text_sink(descriptor, str(output)) as file:
        yield file


def ensure_writable(file: Path) -> None:
    """Exit with a usage error if the file cannot be written. For commands that write it after a long run."""
    target = file if file.exists() else file.parent
    if not os.access(target, os.W_OK):
        reason = os.strerror(errno.EACCES if target.exists() else errno.ENOENT)
        fail(f"cannot write to {file}: {reason}", Exit.USAGE)


@contextmanager
def _copied(stream: IO[bytes]) -> Generator[IO[bytes]]:
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        yield copy


def _own_descriptor(output: Path) -> int | None:
    """Return the descriptor of this process that a path such as /dev/stdout or /dev/fd/63 names, otherwise None."""
    path = output
    while path.is_symlink():
        if path.parent.resolve() == _OPEN_DESCRIPTORS.resolve():
            return int(path.name)
        path = path.parent / path.readlink()
    return None


@contextmanager
def _replaced(output: Path, old: os.stat_result | None) -> Generator[IO[str]]:
    """Yield a temporary file that replaces the output, or the target of a symbolic link, at the end.

    Args:
        output: The path of the output.
        old: The status of the existing file.
    """
    target = output.resolve()
    with ExitStack() as stack:
        try:
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
            stack.enter_context(_removed_on_exit(Path(name)))
            file = stack.enter_context(text_sink(descriptor, str(output)))
            if old is not None:
                os.fchown(descriptor, old.st_uid, old.st_gid)
                if output.is_symlink():  # other users of the link's target need their permissions
                    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
        except OSError as error:
            fail(f"cannot write to {output}: {error.strerror}", Exit.USAGE)
        yield file
        file.close()
        try:
            Path(name).replace(target)
        except OSError as error:
            raise OutputError(str(target), error.strerror) from None


@contextmanager
def _removed_on_exit(file: Path) -> Generator[None]:
    """Remove the file if it still exists, also on SIGTERM, because it contains host tokens."""

    def remove_and_exit(number: int, _frame: object) -> None:
        file.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, remove_and_exit) if in_main_thread else None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous)
