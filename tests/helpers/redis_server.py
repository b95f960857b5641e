"""A redis-server of one's own: on a free port of 127.0.0.1 and a Unix socket, in a folder that goes away with it."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_START_SECONDS = 30
_FIRST_PORT = 21_000
"""The ports of tests are below those that the system hands out by itself."""
_PORTS_OF_A_WORKER = 500
_NUMBERS = itertools.count()


@dataclass(frozen=True)
class RedisServer:
    """A running server."""

    port: int
    socket: Path
    process_id: int = 0
    """Of the process that runs it."""

    @property
    def url(self) -> str:
        """Its URL over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """Its URL over the Unix socket."""
        return f"unix://{self.socket}?db=1"


@contextmanager
def redis_server(
    *options: str, port: int | None = None, tls: Sequence[str] = (), data: Path | None = None
) -> Generator[RedisServer]:
    """Run a redis-server without persistence; `options` are its own (`"--maxmemory", "3mb"`).

    On a free port if none is named. With options for `tls`, the port is for TLS only. What it writes goes into the
    folder `data` if one is named, and stays there.
    """
    program = shutil.which("redis-server")
    if program is None:
        message = "the tests need a redis-server on the PATH: run `make redis`, or install it (Debian: redis-server)"
        raise RuntimeError(message)
    with tempfile.TemporaryDirectory(prefix="wnc-redis-") as folder:
        server = RedisServer(port or free_port(), Path(folder) / "redis.sock")
        listen = ["--port", "0", "--tls-port", str(server.port), *tls] if tls else ["--port", str(server.port)]
        where = ["--bind", "127.0.0.1", *listen, "--unixsocket", str(server.socket)]
        log = Path(folder) / "redis.log"
        command = [program, *where, "--dir", str(data or folder), "--save", "", "--logfile", str(log), *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own arguments
            try:
                _wait_until_ready(server, process, log)
                yield replace(server, process_id=process.pid)
            finally:
                process.terminate()
                process.wait(_START_SECONDS)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens, and that no other test process is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        number = next(_NUMBERS) + 31 * os.getpid()  # several runs at a time, or forks of one, begin in different places
        port = _FIRST_PORT + worker * _PORTS_OF_A_WORKER + number % _PORTS_OF_A_WORKER
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def _wait_until_ready(server: RedisServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:  # it is bound last, and never wants TLS
                connection.settimeout(1)
                connection.connect(str(server.socket))
                connection.sendall(b"PING\r\n")
                if connection.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            pass
        time.sleep(0.02)
    message = f"redis-server did not start: {log.read_text(encoding='utf-8') if log.exists() else 'no log'}"
    raise RuntimeError(message)
