"""The physical limit: redis-benchmark with the very commands that wnc-store sends, 50 connections with 50 in flight.

What one operation sends is recorded between the store and the server. So that the same command can be repeated, what it
compares with is set to what is stored by then: the server's work is the same. A message is appended as it mostly is, by
a store that has read the chat and knows its newest entry, so that nothing is looked through. All of it goes to one
room, which is as fast as it gets.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import hiredis

from wnc_store import StoreError, StoreSettings, open_store
from wnc_store_bench.contenders import WNC
from wnc_store_bench.contenders.wnc import StoreClient
from wnc_store_bench.load import OPERATIONS, Operation
from wnc_store_bench.options import Options, Tell
from wnc_store_bench.records import USERS, user_id
from wnc_store_bench.results import LimitRow
from wnc_store_bench.server import Place, plain_client, read_server

_ROOM = "limit"
_RATE = re.compile(r"([\d.]+) requests per second")
_SECONDS = 300
_WRITES = {"add_user_to_room": "set", "add_message": "rpush"}
"""The command inside that shows that the work was really done."""

Command = list[bytes]


def obstacle(url: str) -> str | None:
    """Say why the limit can't be measured on this server; None if it can."""
    if shutil.which("redis-benchmark") is None:
        return "there is no redis-benchmark on the PATH"
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.query:
        return "redis-benchmark is used on a plain redis:// URL only"
    if parts.username or parts.password:
        return "redis-benchmark would show the password in the list of processes"
    return None


async def measure(place: Place, options: Options, tell: Tell) -> list[LimitRow]:
    """Record what each operation sends and let redis-benchmark repeat it."""
    place = place.of("limit")
    rows: list[LimitRow] = []
    for operation in options.operations or OPERATIONS:
        tell(f"redis-benchmark: {operation}")
        await WNC.seed(place, [_ROOM], USERS)
        async with plain_client(place.url) as client:
            commands = await _recorded(place, client, operation)
            before = await read_server(client)
            rates = [await _benchmark(place, command, options.requests) for command in commands]
            spent = (await read_server(client)).since(before)
        written = spent.count(_WRITES[operation]) if operation in _WRITES else options.requests
        rows.append(
            LimitRow(
                operation=operation,
                commands=[command[0].decode() for command in commands],
                ops_per_second=1 / sum(1 / rate for rate in rates),
                same_work=written >= options.requests,
            )
        )
    return rows


async def _recorded(place: Place, client: Any, operation: Operation) -> list[Command]:
    """Return the commands of one operation, made repeatable."""
    async with _recorder(place.url) as (url, sent):
        settings = StoreSettings(key_prefix=place.prefix)
        async with open_store(url, settings=settings) as store:
            await store.chat.get_messages(_ROOM)
            await _do(StoreClient(store), operation, "warm-up")  # connects, and loads the script
            before = await _stored(place, client)
            sent.clear()
            await _do(StoreClient(store), operation, "recorded")
            by_then = dict(zip(before, await _stored(place, client), strict=True))
    reader = hiredis.Reader()
    reader.feed(bytes(sent))
    commands: list[Command] = []
    while (command := reader.gets()) is not False:
        commands.append([by_then.get(part, part) for part in cast("Command", command)])
    return commands


async def _stored(place: Place, client: Any) -> tuple[bytes, bytes]:
    """Return what operations compare with: the room, and the newest entry of its chat."""
    return await client.get(f"{place.prefix}room:{_ROOM}"), await client.lindex(f"{place.prefix}chat:{_ROOM}", -1)


async def _do(client: StoreClient, operation: Operation, message_id: str) -> None:
    if operation == "get_room":
        await client.get_room(_ROOM)
    elif operation == "add_user_to_room":
        await client.join(_ROOM, user_id(1))
    elif operation == "add_message":
        await client.add_message(_ROOM, message_id)
    else:
        await client.get_messages(_ROOM)


async def _benchmark(place: Place, command: Sequence[bytes], requests: int) -> float:
    parts = urlsplit(place.url)
    where = [
        "-h",
        parts.hostname or "localhost",
        "-p",
        str(parts.port or 6379),
        "--dbnum",
        parts.path.strip("/") or "0",
    ]
    how = ["-n", str(requests), "-c", "50", "-P", "50", "-q"]
    process = await asyncio.create_subprocess_exec(
        "redis-benchmark", *where, *how, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    found = _RATE.findall(out.decode("utf-8", "replace"))
    if not found:
        raise StoreError(f"redis-benchmark ended with {process.returncode} and told no rate")
    return float(found[-1])


@asynccontextmanager
async def _recorder(url: str) -> AsyncGenerator[tuple[str, bytearray]]:
    """Lend a URL that leads to the same server, and what has been sent to it by that way."""
    parts = urlsplit(url)
    sent = bytearray()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray | None) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                if record is not None:
                    record += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(parts.hostname or "localhost", parts.port or 6379)
        pumps.add(asyncio.ensure_future(pump(reader, to_server, sent)))
        pumps.add(asyncio.ensure_future(pump(from_server, writer, None)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}")), sent
    finally:
        server.close()
        await asyncio.gather(*pumps)
        await server.wait_closed()
