"""Python programs in processes of their own, with the signals and settings of a fresh shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")


def known_environment(**more: str) -> dict[str, str]:
    """Return an environment in which programs do and print the same, whatever that of the tests is."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", "COLUMNS": "200", **more}


def restore_signals() -> None:
    """Give a new process the default action of the signals that whoever started the tests may ignore."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def run_python(*arguments: str, folder: Path | None = None, **environment: str) -> str:
    """Run Python, and return what it printed; it must succeed."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, *arguments],
        cwd=folder,
        env=known_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=restore_signals,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_pytest(*arguments: str, folder: Path) -> str:
    """Run pytest in a folder, as a stranger would, and return what it printed; some test must pass, and none fail."""
    plugins = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist", "-p", "no:cov")
    return run_python("-W", "error", "-m", "pytest", "-q", *plugins, *arguments, folder=folder)
