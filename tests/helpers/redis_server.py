"""redis-server processes on free ports: standalone, over TLS, in a cluster, or as Sentinels."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

HANG_SECONDS = 90
"""Ends a hanging wait. No verdict depends on it."""

_MAX_TEMPORARY = 60
"""Longest temporary folder whose sockets fit into the 104 bytes that systems allow for the path of a Unix socket."""


def free_port() -> int:
    """Return a local port that no other process receives while this process lives.

    A socket that is bound but not listening reserves the port. On Linux a server can bind it as well, because both
    sockets set SO_REUSEADDR. Other systems do not allow that, so there the reservation ends immediately.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    port = int(reservation.getsockname()[1])
    if sys.platform == "linux":
        atexit.register(reservation.close)
    else:
        reservation.close()
    return port


class RedisServer:
    """A local redis-server without persistence that a test can kill, pause and restart.

    Args:
        options: options of the server (`"--maxmemory", "3mb"`), or the lines of the configuration file of a Sentinel.
        port: the port. Without it, a free port.
        tls: options for TLS. With them, the port accepts only TLS.
        sentinel: whether the server is a Sentinel.
        program: path of the executable. Without it, the redis-server on the PATH.
        password: the password that the server requires.

    Attributes:
        folder: the folder of its files, which exists until `end`.
        socket: path of the Unix socket.
    """

    def __init__(
        self,
        *options: str,
        port: int | None = None,
        tls: Sequence[str] = (),
        sentinel: bool = False,
        program: str | None = None,
        password: str = "",
    ) -> None:
        short = None if len(tempfile.gettempdir()) <= _MAX_TEMPORARY else "/tmp"  # noqa: S108 - of the system
        self._temporary = tempfile.TemporaryDirectory(prefix="wnc-redis-", dir=short)
        self.folder = Path(self._temporary.name)
        self.port = port or free_port()
        self.socket = self.folder / "redis.sock"
        self._program = program
        self._password = password
        self._log = self.folder / "redis.log"
        listen = ("--port", "0", "--tls-port", str(self.port), *tls) if tls else ("--port", str(self.port))
        files = ("--unixsocket", str(self.socket), "--dir", str(self.folder), "--logfile", str(self._log))
        self._options = ("--bind", "127.0.0.1", *listen, *files)
        if sentinel:
            configuration = self.folder / "sentinel.conf"
            configuration.write_text("".join(f"{line}\n" for line in options))
            self._options = (str(configuration), *self._options, "--sentinel")
        else:
            self._options += ("--save", "", *options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def valkey_url(self) -> str:
        """The URL over TCP with the scheme of Valkey."""
        return f"valkey://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The URL of database 1 over the Unix socket."""
        return f"unix://{self.socket}?db=1"

    def start(self) -> None:
        """Start the process, and wait until it has loaded its data and replies.

        redis-server sets its own signal handlers, and `end` uses SIGKILL, so inherited signal settings do not matter.

        Raises:
            RuntimeError: redis-server is missing or does not start.
        """
        program = self._program or shutil.which("redis-server")
        if program is None:
            message = "the tests need a redis-server on the PATH: run `make redis`, or install one"
            raise RuntimeError(message)
        environment = {**os.environ, "LC_ALL": "C"}  # the server does not start with a locale that is not installed
        self._process = subprocess.Popen([program, *self._options], stdout=subprocess.DEVNULL, env=environment)  # noqa: S603
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            # The server binds its own Unix socket last, so no other server can reply here.
            if self.ask("PING")[:5] in {b"+PONG", b"-NOAU"}:
                return
            time.sleep(0.01)
        self.kill()
        message = f"redis-server did not start: {self._log.read_text() if self._log.exists() else 'no log'}"
        raise RuntimeError(message)

    def ask(self, *words: str) -> bytes:
        """Send a command and return the first bytes of the reply, or nothing if no process listens."""
        line = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(HANG_SECONDS)
            try:
                connection.connect(str(self.socket))
                if self._password:
                    connection.sendall(f"AUTH {self._password}\r\n".encode())
                    connection.recv(5)
                connection.sendall(line.encode())
                return connection.recv(65536)
            except (ConnectionError, FileNotFoundError):
                return b""

    def kill(self) -> None:
        """Kill the process with SIGKILL, even if it is paused."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop the process. It keeps its connections and does not reply."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Pause the process within the context."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def end(self) -> None:
        """Kill the process and remove its files."""
        self.kill()
        self._temporary.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@contextmanager
def redis_server(*options: str, port: int | None = None, tls: Sequence[str] = ()) -> Generator[RedisServer]:
    """Run a `RedisServer`."""
    server = RedisServer(*options, port=port, tls=tls)
    with running(server):
        yield server


@contextmanager
def running(*servers: RedisServer) -> Generator[None]:
    """Start servers one after the other, and end them at the exit of the context."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.end()


def wait_for_reply(text: str, *servers: RedisServer, to: Sequence[str]) -> None:
    """Wait until the reply of each server to a command contains a text.

    Raises:
        TimeoutError: a reply does not contain the text in time.
    """
    deadline = time.monotonic() + HANG_SECONDS
    for server in servers:
        while text.encode() not in (reply := server.ask(*to)):
            if time.monotonic() > deadline:
                message = f"no {text!r} from port {server.port}: {reply!r}"
                raise TimeoutError(message)
            time.sleep(0.01)
