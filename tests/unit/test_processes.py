"""The environment and the signals of child processes."""

from __future__ import annotations

import signal
import sys

import pytest

from processes import reset_process_state, run

REPORT = """
import os, signal, sys
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
print(signal.getsignal(signal.SIGQUIT) is signal.SIG_DFL)
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set())
print([name for name in ("CI", "COLUMNS", "REDIS_URL", "HTTP_PROXY", "LANG") if name in os.environ])
print(os.environ["TZ"], sys.stdin.read() == "")
"""


def test_a_child_starts_in_a_known_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process has default signals, a known environment and an empty standard input."""
    for name in ("CI", "COLUMNS", "REDIS_URL", "HTTP_PROXY", "LANG", "TZ"):
        monkeypatch.setenv(name, "40")
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    reset_process_state()
    assert run(sys.executable, "-c", REPORT).stdout.split("\n") == ["True", "True", "True", "[]", "UTC True", ""]
