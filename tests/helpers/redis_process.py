"""A server process that a test kills, stops and starts again, by its id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from redis_server import free_port

_START_SECONDS = 30


class RedisProcess:
    """A redis-server, as server, member of a cluster or Sentinel, on a port of 127.0.0.1.

    Args:
        folder: for its files; they outlive the process.
        options: its own; or the path of a configuration file first.
        sentinel: whether it is a Sentinel.
        program: the server's; the one on the PATH if left out.
        password: that it wants.
    """

    def __init__(
        self, folder: Path, *options: str, sentinel: bool = False, program: str | None = None, password: str = ""
    ) -> None:
        self.port = free_port()
        self.folder = folder / str(self.port)
        self.folder.mkdir()
        self._options = options
        self._sentinel = sentinel
        self._program = program or shutil.which("redis-server") or "redis-server"
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        log = self.folder / "redis.log"
        common = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--logfile", str(log)]
        if self._sentinel:
            configuration = self.folder / "sentinel.conf"
            if not configuration.exists():
                configuration.write_text("\n".join(self._options) + "\n")
            command = [self._program, str(configuration), *common, "--sentinel"]
        else:
            command = [self._program, *common, "--save", "", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own arguments
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.ask("PING")[:5] in {b"+PONG", b"-LOAD", b"-NOAU"}:
                return
            time.sleep(0.02)
        message = f"the server did not start: {log.read_text() if log.exists() else 'no log'}"
        raise RuntimeError(message)

    def ask(self, *words: str) -> bytes:
        """Send a command, and return the first bytes of the answer; none if there is no answer."""
        line = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                if self._password:
                    connection.sendall(f"AUTH {self._password}\r\n".encode())
                    connection.recv(5)
                connection.sendall(line.encode())
                return connection.recv(65536)
        except OSError:
            return b""

    def kill(self) -> None:
        """End it at once, as kill -9 does."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(_START_SECONDS)

    def pause(self) -> None:
        """Stop it; it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it, however it is."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)


def wait_until(condition: str, seconds: float, *processes: RedisProcess, words: tuple[str, ...]) -> None:
    """Wait until each of some servers has a text in its answer to a command."""
    deadline = time.monotonic() + seconds
    for process in processes:
        while condition.encode() not in (answer := process.ask(*words)):
            if time.monotonic() > deadline:
                message = f"no {condition!r} from port {process.port} in {seconds} s: {answer!r}"
                raise RuntimeError(message)
            time.sleep(0.05)
