"""The environment, the signals and the sockets of child processes."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import pytest

from processes import reset_process_state, run
from redis_server import RedisServer

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


def test_a_server_has_a_socket_with_a_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a server's Unix socket fits into 104 bytes, also if the temporary folder has a long path."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    server = RedisServer()
    assert len(str(server.socket)) < 104
    server.end()
