"""The server under test: one of our own or a user's, keys of our own in it, and what it tells of itself."""

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


@dataclass(frozen=True)
class Place:
    """Where a contender keeps its data.

    Attributes:
        url: the server.
        prefix: goes before every key.
        connections: how many connections a process of a contender may open at most.
        waits: whether there are more callers than that, so that some wait for a connection.
    """

    url: str
    prefix: str
    connections: int = 200
    waits: bool = False

    def of(self, name: str) -> Place:
        """Return the place of one contender."""
        return replace(self, prefix=f"{self.prefix}{name.replace(' ', '-')}:")


@dataclass(frozen=True)
class Reading:
    """What a server has done until now, by its own count.

    Attributes:
        cpu_seconds: of processor time.
        bytes_in: received.
        bytes_out: sent.
        reads: how often it read from a socket; one caller that waits for each answer causes one for each round trip.
        calls: how often each command ran, also inside scripts.
    """

    cpu_seconds: float
    bytes_in: int
    bytes_out: int
    reads: int
    calls: Mapping[str, int]

    def since(self, before: Reading) -> Reading:
        """Return what came on top."""
        return Reading(
            self.cpu_seconds - before.cpu_seconds,
            self.bytes_in - before.bytes_in,
            self.bytes_out - before.bytes_out,
            self.reads - before.reads,
            {name: count - before.calls.get(name, 0) for name, count in self.calls.items()},
        )

    def count(self, *commands: str) -> int:
        """Return how often these commands ran, together."""
        return sum(self.calls.get(command, 0) for command in commands)


def plain_client(url: str, **options: Any) -> Any:
    """Return redis-py's asyncio client, without types: they are half for the synchronous one."""
    return Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]


async def read_server(client: Any) -> Reading:
    """Ask a server what it has done until now."""
    info = await client.info("everything")
    return Reading(
        info["used_cpu_user"] + info["used_cpu_sys"],
        info["total_net_input_bytes"],
        info["total_net_output_bytes"],
        info.get("total_reads_processed", 0),
        {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in info.items() if name.startswith("cmdstat_")},
    )


@asynccontextmanager
async def own_keys(url: str, callers: int) -> AsyncGenerator[Place]:
    """Lend a place behind a prefix that nobody else has; remove all of its keys in the end, and no other.

    Raises:
        ConfigurationError: the URL is wrong, or the server refuses what is needed.
        StoreUnavailableError: the server can't be reached.
    """
    place = Place(url, f"wnc-bench-{uuid.uuid4().hex[:12]}:", callers)
    await _check(url)
    try:
        yield place
    finally:
        await remove_keys(place)


async def _check(url: str) -> None:
    try:
        client = plain_client(url)
    except ValueError:
        client = None
    if client is None:
        message = "the benchmark needs the URL of one Redis server: redis://user:password@host:6379/0"
        raise ConfigurationError(message)
    failure = ""
    async with client:
        try:
            await read_server(client)
        except (RedisError, OSError) as error:
            failure = type(error).__name__
    if failure:  # raised outside the handler: the driver's exception may hold the password
        message = f"the server does not answer INFO, which the benchmark needs ({failure})"
        raise StoreUnavailableError(message)


async def remove_keys(place: Place) -> None:
    """Remove every key behind the place's prefix."""
    async with plain_client(place.url) as client:
        page: list[bytes] = []
        async for key in client.scan_iter(match=f"{place.prefix}*", count=_PAGE):
            page.append(key)
            if len(page) == _PAGE:
                await client.unlink(*page)
                page.clear()
        if page:
            await client.unlink(*page)


@contextmanager
def own_server() -> Generator[str]:
    """Run a redis-server without persistence on a free port of 127.0.0.1, and lend its URL.

    Raises:
        ConfigurationError: there is no redis-server, or it does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        message = "there is no redis-server on the PATH: install it, or name a server: wnc-store bench URL"
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
