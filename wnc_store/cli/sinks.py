"""Output streams whose errors name the stream."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD_OUTPUT = "standard output"


class OutputError(Exception):
    """Raised when a command's output cannot be written."""

    def __init__(self, name: str, reason: str | None) -> None:
        super().__init__(f"cannot write to {name}: {reason}")


def text_sink(descriptor: int, name: str) -> io.TextIOWrapper:
    """Return a text stream that owns the descriptor and closes it."""
    return io.TextIOWrapper(io.BufferedWriter(_Sink(descriptor, name, closefd=True)), encoding="utf-8", newline="\n")


def with_name(stream: TextIO, name: str) -> TextIO:
    """Return a stream on the same descriptor whose errors contain `name`. Streams without a file are returned as is."""
    buffer: object = getattr(stream, "buffer", None)
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(stream.fileno(), name, closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
    )


class _Sink(io.FileIO):
    """A file that raises its first write error and discards later writes, so that exit does not report it twice."""

    def __init__(self, descriptor: int, name: str, *, closefd: bool) -> None:
        super().__init__(descriptor, "w", closefd=closefd)
        self._name = name
        self._failed = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write the data.

        Raises:
            BrokenPipeError: The reader closed the pipe.
            OutputError: The write failed for another reason.
        """
        if self._failed:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._failed = True
            if isinstance(error, BrokenPipeError):
                raise
            raise OutputError(self._name, error.strerror) from None
