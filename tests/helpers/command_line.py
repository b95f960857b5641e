"""The command line in this process: what it prints is captured, and no line is wrapped."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from wnc_store.cli import main, output
from wnc_store.cli.app import app

for _console in (output.out, output.err):
    _console.width = 200


def wnc_store(*arguments: str, code: int = 0, given: bytes = b"") -> Result:
    """Run a command, check its exit code, and return what it printed; `open_input` is its standard input."""
    result = CliRunner().invoke(app, arguments, input=given)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def program(*arguments: str, stdout: int | None = None, code: int = 0) -> str:
    """Run the program, whose standard output is an open descriptor, or is closed; return what goes to standard error.

    Raises:
        AssertionError: it ended with another exit code.
    """
    with (
        _standard_output(stdout),
        redirect_stderr(io.StringIO()) as told,
        mock.patch.object(sys, "argv", ["", *arguments]),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    for console in (output.out, output.err):
        with console.capture():  # drops what could not be written, which the next command would print
            pass
    assert (ended.value.code or 0) == code, told.getvalue()
    return told.getvalue()


@contextmanager
def _standard_output(descriptor: int | None) -> Generator[None]:
    """Have descriptor 1 and `sys.stdout` lead somewhere else."""
    kept = os.dup(1)
    try:
        if descriptor is None:
            with redirect_stdout(None):
                yield
            return
        os.dup2(descriptor, 1)
        with open(1, "w", encoding="utf-8", closefd=False) as stream, redirect_stdout(stream):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
