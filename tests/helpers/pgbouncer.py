"""PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from postgres_server import PostgresServer, as_user
from redis_server import HANG_SECONDS, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "found no pgbouncer: install it, for example with `apt-get install pgbouncer`"


@contextmanager
def pgbouncer(server: PostgresServer, **settings: str) -> Generator[int]:
    """Run PgBouncer in transaction mode, and yield its port."""
    assert PROGRAM is not None, MISSING
    with tempfile.TemporaryDirectory(prefix="wnc-pgbouncer-", dir="/tmp") as folder:
        port = free_port()
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": "4",
            "server_tls_sslmode": "disable",
            **settings,
        }
        file = server.give(Path(folder)) / "pgbouncer.ini"
        lines = [f"{name} = {value}\n" for name, value in options.items()]
        file.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\n{''.join(lines)}"
        )
        file.chmod(0o644)
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen[bytes](
                [PROGRAM, str(file)], cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **as_user()
            )
        try:
            _wait_until_it_listens(port, process, log)
            yield port
        finally:
            process.kill()
            process.wait()


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    message = f"pgbouncer did not start: {log.read_text()}"
    raise RuntimeError(message)
