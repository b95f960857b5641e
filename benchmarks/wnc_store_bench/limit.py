"""The physical limit: redis-benchmark with the commands that wnc-store sends, on 50 connections with 50 in flight each.

A proxy records the commands of one operation. To make a command repeatable, the value that it compares with is replaced
by the value that is stored afterwards, so the server does the same work. The message is added by a store that has read
the chat and knows its newest entry, which is the usual case. All commands use one room, which is the fastest case.
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
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.records import USERS, user_id
from wnc_store_bench.results import LimitRow
from wnc_store_bench.server import Target, plain_client, read_server

_ROOM = "limit"
_RATE = re.compile(r"([\d.]+) requests per second")
_SECONDS = 300
_WRITES = {"add_user_to_room": "set", "add_message": "rpush"}
"""The command inside the script whose count proves that the script wrote."""

Command = list[bytes]


def obstacle(url: str) -> str | None:
    """Return why the limit cannot be measured on this server, or None if it can."""
    if shutil.which("redis-benchmark") is None:
        return "redis-benchmark is missing on the PATH"
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.query:
        return "redis-benchmark supports only a plain redis:// URL here"
    if parts.username or parts.password:
        return "redis-benchmark would show the password in the list of processes"
    return None


async def measure(target: Target, options: Options, progress: ProgressCallback) -> list[LimitRow]:
    """Record the commands of each operation, and measure them with redis-benchmark."""
    target = target.of("limit")
    rows: list[LimitRow] = []
    for operation in options.operations or OPERATIONS:
        progress(f"redis-benchmark: {operation}")
        await WNC.seed(target, [_ROOM], USERS)
        async with plain_client(target.url) as client:
            commands = await _recorded(target, client, operation)
            before = await read_server(client)
            rates = [await _benchmark(target, command, options.requests) for command in commands]
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


async def _recorded(target: Target, client: Any, operation: Operation) -> list[Command]:
    """Return the commands of one operation, made repeatable."""
    async with _recorder(target.url) as (url, sent):
        settings = StoreSettings(key_prefix=target.prefix)
        async with open_store(url, settings=settings) as store:
            await _do(StoreClient(store), operation, "warm-up")  # connects, and loads the script
            await store.chat.get_messages(_ROOM)  # after a read, the store knows all ids of the chat
            before = await _stored(target, client)
            sent.clear()
            await _do(StoreClient(store), operation, "recorded")
            replacements = dict(zip(before, await _stored(target, client), strict=True))
    reader = hiredis.Reader()
    reader.feed(bytes(sent))
    commands: list[Command] = []
    while (command := reader.gets()) is not False:
        commands.append([replacements.get(part, part) for part in cast("Command", command)])
    return commands


async def _stored(target: Target, client: Any) -> tuple[bytes, bytes]:
    """Return the values that operations compare with: the room, and the newest entry of its chat."""
    return await client.get(f"{target.prefix}room:{_ROOM}"), await client.lindex(f"{target.prefix}chat:{_ROOM}", -1)


async def _do(client: StoreClient, operation: Operation, message_id: str) -> None:
    if operation == "get_room":
        await client.get_room(_ROOM)
    elif operation == "add_user_to_room":
        await client.join(_ROOM, user_id(1))
    elif operation == "add_message":
        await client.add_message(_ROOM, message_id)
    else:
        await client.get_messages(_ROOM)


async def _benchmark(target: Target, command: Sequence[bytes], requests: int) -> float:
    parts = urlsplit(target.url)
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
        raise StoreError(f"redis-benchmark exited with {process.returncode} and printed no rate")
    return float(found[-1])


@asynccontextmanager
async def _recorder(url: str) -> AsyncGenerator[tuple[str, bytearray]]:
    """Yield the URL of a proxy to the server, and the bytes that were sent through it."""
    parts = urlsplit(url)
    sent = bytearray()
    connections: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray | None) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                if record is not None:
                    record += data
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection(parts.hostname or "localhost", parts.port or 6379)
        except OSError:
            writer.close()
        else:
            await asyncio.gather(pump(reader, to_server, sent), pump(from_server, writer, None))

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.ensure_future(forward(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}")), sent
    finally:
        server.close()
        await asyncio.gather(*connections)  # the recorded store has closed them
        await server.wait_closed()
