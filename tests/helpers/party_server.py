"""The watch party, and other apps of the examples, in their own processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.request import urlopen

from processes import ROOT, SECONDS

_SERVE = """
import socket, sys, uvicorn
config = uvicorn.Config(sys.argv[2], ws="websockets-sansio", log_level="warning")
uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


@dataclass
class PartyServer:
    """A running server."""

    port: int
    pid: int

    @property
    def host(self) -> str:
        """The host and port of the server."""
        return f"127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """The URL of the page."""
        return f"http://{self.host}/"

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)


@contextmanager
def party_server(
    url: str, *, app: str = "watch_party.app:app", folder: str = "examples", **settings: str
) -> Generator[PartyServer]:
    """Run an app of a folder on a store, by default the watch party. The settings are environment variables."""
    environment = {**os.environ, "WNC_STORE_URL": url, "PYTHONPATH": str(ROOT / folder), **settings}
    with socket.create_server(("127.0.0.1", 0)) as listener:  # inherited, so that no other process takes the port
        port, handle = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, "-c", _SERVE, str(handle), app],
            env=environment,
            pass_fds=[handle],
        )
    with _running(process, port) as server:
        yield server


@contextmanager
def two_workers(url: str, app: str, folders: Sequence[str], **settings: str) -> Generator[PartyServer]:
    """Run `uvicorn --workers 2` on a store. The settings are environment variables."""
    path = os.pathsep.join(str(ROOT / folder) for folder in folders)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--workers", "2", "--port", str(port)]
    options = ["--ws", "websockets-sansio", "--log-level", "warning", "--timeout-worker-healthcheck", str(SECONDS)]
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        [*command, *options], env={**os.environ, "WNC_STORE_URL": url, "PYTHONPATH": path, **settings}
    )
    with _running(process, port) as server:
        yield server


@contextmanager
def party_by_make(url: str, **settings: str) -> Generator[PartyServer]:
    """Run `make party` on a store."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    venv = os.path.relpath(sys.prefix, ROOT)  # make does not accept spaces, which the absolute path may contain
    nothing_to_install = f"--old-file={venv}/.party"
    command = ["make", "--silent", nothing_to_install, "party", f"URL={url}", f"PORT={port}", f"VENV={venv}"]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command,
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line == f"The watch party is at http://127.0.0.1:{port}/ (control-C ends it)\n"
            _wait_until_ready(f"http://127.0.0.1:{port}/", process)
            yield PartyServer(port, process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


@contextmanager
def _running(process: subprocess.Popen[bytes], port: int) -> Generator[PartyServer]:
    """Wait until the server of a process is ready, and terminate the process afterwards."""
    with process:
        server = PartyServer(port, process.pid)
        try:
            _wait_until_ready(server.address, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server at an address is ready."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):  # the socket listens before the server accepts, so a request can time out
            urlopen(f"{address}healthz", timeout=5).close()  # noqa: S310 - our own
            return
        time.sleep(0.05)
    message = f"the app did not start at {address}"
    raise RuntimeError(message)
