"""The server under test: a temporary server or the user's, its temporary keys and its counters."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from wnc_store import ConfigurationError, StoreUnavailableError

_START_SECONDS = 10
_PAGE = 1000

OWN_PREFIX = 40
"""Longest prefix that a run adds to the one of the user."""


@dataclass(frozen=True)
class Target:
    """The location of a contender's data.

    Attributes:
        url: the URL of the server.
        prefix: the prefix of every key.
        connections: maximum number of connections of a contender's process.
        waits: whether there are more callers than connections, so that some callers wait for a connection.
    """

    url: str
    prefix: str
    connections: int = 200
    waits: bool = False

    def of(self, name: str) -> Target:
        """Return the target of a contender."""
        return replace(self, prefix=f"{self.prefix}{name.replace(' ', '-')}:")


@dataclass(frozen=True)
class Reading:
    """The counters of a server at one time.

    Attributes:
        cpu_seconds: processor time.
        reads: number of reads from sockets. A single caller causes one read per round trip.
        calls: number of calls of each command, including calls in scripts.
    """

    cpu_seconds: float
    reads: int
    calls: Mapping[str, int]

    def since(self, before: Reading) -> Reading:
        """Return the difference to an earlier reading."""
        return Reading(
            self.cpu_seconds - before.cpu_seconds,
            self.reads - before.reads,
            {name: count - before.calls.get(name, 0) for name, count in self.calls.items()},
        )

    def count(self, *commands: str) -> int:
        """Return the number of calls of these commands."""
        return sum(self.calls.get(command, 0) for command in commands)


def driver_url(url: str) -> str:
    """Return a URL with a scheme that redis-py and ioredis know: that of Redis instead of Valkey."""
    return f"redis{url.removeprefix('valkey')}" if url.startswith(("valkey://", "valkeys://")) else url


def server_version(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return the program of a server and its version. Valkey also reports a version of Redis, for compatibility."""
    if "valkey_version" in info:
        return "valkey-server", str(info["valkey_version"])
    return "redis-server", str(info["redis_version"])


def plain_client(url: str, **options: Any) -> Any:
    """Return redis-py's asyncio client as Any, because its types also cover the synchronous client."""
    return Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]


async def read_server(client: Any) -> Reading:
    """Read the counters of a server."""
    info = await client.info("everything")
    return Reading(
        info["used_cpu_user"] + info["used_cpu_sys"],
        info.get("total_reads_processed", 0),
        {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")},
    )


@asynccontextmanager
async def temporary_keys(url: str, callers: int, key_prefix: str = "") -> AsyncGenerator[Target]:
    """Yield a target with a unique prefix, and remove the keys with that prefix at the exit of the context.

    Args:
        url: the URL of the server.
        callers: maximum number of connections of a contender's process.
        key_prefix: the beginning of the unique prefix.

    Raises:
        ConfigurationError: the URL is invalid.
        StoreUnavailableError: the server cannot be reached or denies INFO.
    """
    target = Target(url, f"{key_prefix}wnc-bench-{uuid.uuid4().hex[:12]}:", callers)
    await _check(url)
    try:
        yield target
    finally:
        await remove_keys(target)


def check_url(url: str) -> None:
    """Check that a URL names one Redis server.

    Raises:
        ConfigurationError: it does not.
    """
    try:
        plain_client(url)
    except ValueError:
        pass
    else:
        return
    message = (
        "the benchmark needs the URL of one Redis server: redis://user:password@host:6379/0; the URL of a PostgreSQL "
        "database is passed with --postgres"
    )
    raise ConfigurationError(message)  # outside the handler, because the driver's exception may contain the password


async def _check(url: str) -> None:
    check_url(url)
    failure = ""
    async with plain_client(url) as client:
        try:
            await read_server(client)
        except (RedisError, OSError) as error:
            failure = type(error).__name__
    if failure:  # raised outside the handler, because the driver's exception may contain the password
        message = f"the benchmark needs INFO, but the server did not reply to it ({failure})"
        raise StoreUnavailableError(message)


async def remove_keys(target: Target) -> None:
    """Remove all keys with the prefix of a target."""
    async with plain_client(target.url) as client:
        page: list[bytes] = []
        async for key in client.scan_iter(match=f"{target.prefix}*", count=_PAGE):
            page.append(key)
            if len(page) == _PAGE:
                await client.unlink(*page)
                page.clear()
        if page:
            await client.unlink(*page)


@contextmanager
def temporary_server() -> Generator[str]:
    """Run a redis-server without persistence on a free local port, and yield its URL.

    Raises:
        ConfigurationError: redis-server is missing or does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        message = "redis-server is missing on the PATH: install it, or give the URL of a server: wnc-store bench URL"
        raise ConfigurationError(message)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="wnc-bench-") as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        log = Path(folder) / "redis.log"
        command = [program, *options, "--logfile", str(log)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own arguments
            try:
                _wait_until_ready(port, process, log)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.terminate()
                process.wait(_START_SECONDS)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(7) == b"+PONG\r\n":
                    return
        except OSError:
            pass
        time.sleep(0.02)
    message = f"redis-server did not start: {log.read_text(encoding='utf-8') if log.exists() else 'no log'}"
    raise ConfigurationError(message)
