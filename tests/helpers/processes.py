"""Child processes with a known environment and default signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WNC_STORE = (sys.executable, "-W", "error", "-c", "from wnc_store.cli import main; main()")
"""Command that runs the command line in a process where warnings are errors."""

SECONDS = 600
"""Time limit of a child process. It only ends a hang."""

_UNSET = (
    *("CI", "GITHUB_ACTIONS", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("COLUMNS", "LINES", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "PYTHONIOENCODING", "PYTHONWARNINGS"),
)
_UNSET_PREFIXES = ("WNC_STORE_", "REDIS_URL", "RATE_LIMIT_", "OTEL_", "LC_", "LANG")
_FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "xterm"}


def reset_process_state() -> None:
    """Set a known environment and default signals in this process. Child processes inherit both."""
    for name in tuple(os.environ):
        if name in _UNSET or name.startswith(_UNSET_PREFIXES) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(_FIXED)
    time.tzset()
    sys.dont_write_bytecode = False  # otherwise each process compiles all tests, and each child compiles pydantic
    reset_signals()


def reset_signals() -> None:
    """Restore SIGINT and SIGQUIT, which shells ignore in background jobs. SIGHUP is kept as nohup sets it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


def run(*command: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command, check its exit code, and return the completed process with its output.

    Standard input is empty and the working directory is the project's root, unless `options` for `Popen` override that.
    """
    with start(*command, **options) as process:
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert process.returncode == code, (process.returncode, stdout, stderr)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def run_python(*arguments: str, **options: Any) -> str:
    """Run Python as `run` does, and return its standard output."""
    return run(sys.executable, *arguments, **options).stdout


def run_pytest(*arguments: str, folder: Path) -> str:
    """Run pytest in a folder without the project's plugins, check that tests ran and passed, and return the output."""
    plugins = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist", "-p", "no:cov")
    return run_python("-W", "error", "-m", "pytest", "-q", *plugins, *arguments, cwd=folder)


@contextmanager
def start(*command: str, **options: Any) -> Generator[subprocess.Popen[str]]:
    """Start a command as `run` does, and kill it at the end of the context if it is still running."""
    pipe = subprocess.PIPE
    defaults: dict[str, Any] = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
    with subprocess.Popen(command, text=True, encoding="utf-8", **{**defaults, **options}) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()
