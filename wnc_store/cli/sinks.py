"""Where commands write: streams whose errors say what can't be written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT = "standard output"


class OutputError(Exception):
    """What a command writes to takes no more."""

    def __init__(self, name: str, why: str | None) -> None:
        super().__init__(f"{name} can't be written: {why}")


def text_sink(descriptor: int, name: str) -> io.TextIOWrapper:
    """Return a text file on a descriptor, which it closes."""
    return io.TextIOWrapper(io.BufferedWriter(_Sink(descriptor, name, closefd=True)), encoding="utf-8", newline="\n")


def named(plain: TextIO, name: str) -> TextIO:
    """Return a stream whose errors name it, in the place of one; what is no plain file of Python's is left as it is."""
    buffer: object = getattr(plain, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return plain
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(plain.fileno(), name, closefd=False)),
        encoding=plain.encoding,
        errors=plain.errors,
        line_buffering=bool(plain.line_buffering),
    )


class _Sink(io.FileIO):
    """A file that fails once: what is buffered then is dropped without another word, not told at the very end again."""

    def __init__(self, descriptor: int, name: str, *, closefd: bool) -> None:
        super().__init__(descriptor, "w", closefd=closefd)
        self._told_as = name
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or say what can't be written; a reader who has gone is another matter, and no failure."""
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self._failed = True
            raise
        except OSError as error:
            self._failed = True
            raise OutputError(self._told_as, error.strerror) from None
