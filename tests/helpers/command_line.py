"""Runs of the command line in this process, with captured output and a terminal of a given width."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from chaos.server import admin
from wnc_store import Store, open_store
from wnc_store.cli import main, output
from wnc_store.cli.app import app

for _console in (output.out, output.err):
    _console.width = 200


def wnc_store(*arguments: str, code: int = 0, stdin: bytes = b"", width: int = 200) -> Result:
    """Run a command, check its exit code, and return its output."""
    for console in (output.out, output.err):
        console.width = width
    result = CliRunner().invoke(app, arguments, input=stdin)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def on_redis(url: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Run a coroutine with a plain Redis client, and return its result."""

    async def run() -> Any:
        async with admin(url) as plain:
            return await work(plain)

    return asyncio.run(run())


def on_store(url: str, work: Callable[[Store], Awaitable[object]]) -> None:
    """Run a coroutine with a store."""

    async def run() -> None:
        async with open_store(url) as store:
            await work(store)

    asyncio.run(run())


def program(*arguments: str, stdout: int | None = None, code: int = 0) -> str:
    """Run the program, check its exit code, and return its standard error.

    Args:
        arguments: The command and its arguments.
        stdout: An open descriptor for standard output; None closes standard output.
        code: The expected exit code.
    """
    with (
        _standard_output(stdout),
        redirect_stderr(io.StringIO()) as stderr,
        mock.patch.object(sys, "argv", ["", *arguments]),
        pytest.raises(SystemExit) as exit_info,
    ):
        main()
    for console in (output.out, output.err):
        with console.capture():  # discards the output that could not be written; the next command would print it
            pass
    assert (exit_info.value.code or 0) == code, stderr.getvalue()
    return stderr.getvalue()


@contextmanager
def _standard_output(descriptor: int | None) -> Generator[None]:
    """Redirect descriptor 1 and `sys.stdout` to the descriptor; None closes `sys.stdout`."""
    original = os.dup(1)
    try:
        if descriptor is None:
            with redirect_stdout(None):
                yield
            return
        os.dup2(descriptor, 1)
        with open(1, "w", encoding="utf-8", closefd=False) as stream, redirect_stdout(stream):
            yield
    finally:
        os.dup2(original, 1)
        os.close(original)
