"""Commands to the server and their replies: the one place that talks to the driver.

Connections come from the client's pool and are used directly, so the retries that a client may hide (some run a write
twice) never happen, and replies are bytes whatever `decode_responses` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, ResponseError

from wnc_store import Lifecycle, StoreClosedError, StoreError
from wnc_store_redis._errors import translate
from wnc_store_redis._scripts import Script

Command = tuple[bytes, ...]
Reply = Any
"""What a server may answer: bytes, int, None or a list of these."""

_deadline: ContextVar[float | None] = ContextVar("_deadline", default=None)


class Commands:
    """Commands on one client.

    Args:
        client: redis-py's asyncio client, with any settings.
        where: the server's address, for errors.
        timeout: how long an operation may take.
        lifecycle: tells when the store was closed.
    """

    def __init__(self, client: Redis, where: str, timeout: timedelta, lifecycle: Lifecycle) -> None:
        self._pool = client.connection_pool
        self._lifecycle = lifecycle
        self._loop: asyncio.AbstractEventLoop | None = None
        self._where = where
        self._timeout = timeout.total_seconds()

    @contextmanager
    def one_operation(self) -> Generator[None]:
        """Let all commands inside share one deadline, that of the operation around it if there is one."""
        token = _deadline.set(_deadline.get() or asyncio.get_running_loop().time() + self._timeout)
        try:
            yield
        finally:
            _deadline.reset(token)

    async def read(self, *command: bytes) -> Reply:
        """Send a command that changes nothing; its second word is the key, for errors."""
        key = command[1] if len(command) > 1 else b""
        return self._value((await self._exchange([command], key, writes=False))[0], key)

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands that change nothing in one round trip."""
        if not commands:
            return []
        replies = await self._exchange(commands, commands[0][1], writes=False)
        return [self._value(reply, command[1]) for reply, command in zip(replies, commands, strict=True)]

    async def write(self, *command: bytes) -> Reply:
        """Send a command that changes something."""
        return self._value((await self._exchange([command], command[1], writes=True))[0], command[1])

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes, writes: bool = True) -> Reply:
        """Run a script by its SHA-1, or by its source where the server has forgotten it."""
        tail = (str(len(keys)).encode(), *keys, *arguments)
        with self.one_operation():
            (reply,) = await self._exchange([(b"EVALSHA", script.sha, *tail)], keys[0], writes=writes)
            if isinstance(reply, NoScriptError):
                (reply,) = await self._exchange([(b"EVAL", script.source, *tail)], keys[0], writes=writes)
        return self._value(reply, keys[0], script_writes=writes)

    def _value(self, reply: Reply, key: bytes, *, script_writes: bool = False) -> Reply:
        if isinstance(reply, ResponseError):
            raise translate(reply, where=self._where, key=_text(key), sent=script_writes)
        return reply

    async def _exchange(self, commands: Sequence[Command], key: bytes, *, writes: bool) -> list[Reply]:
        """Send commands on one connection and return their replies; a refused command's reply is its ResponseError."""
        loop = asyncio.get_running_loop()
        if loop is not (self._loop or loop):
            message = "this store was used on another event loop: open one store for each"
            raise StoreError(message)
        self._loop = loop
        deadline = _deadline.get() or loop.time() + self._timeout
        sent = False
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._pool.get_connection()
                try:
                    if self._lifecycle.closed:  # while this caller waited for a connection
                        await connection.disconnect()
                        raise StoreClosedError
                    packed = connection.pack_commands(commands)
                    if loop.time() >= deadline:  # too late to send: time-outs strike only where something is awaited
                        raise TimeoutError
                    sent = writes
                    await connection.send_packed_command(packed)
                    return [await _reply(connection) for _ in commands]
                finally:
                    # A connection whose replies were not all read has disconnected itself by now.
                    await self._pool.release(connection)
        except StoreClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            failure = translate(error, where=self._where, key=_text(key), sent=sent)
        # Raised outside the handler: the driver's exception would stay within reach as the context.
        raise failure


async def _reply(connection: AbstractConnection) -> Reply:
    try:
        return await connection.read_response(disable_decoding=True)  # pyright: ignore[reportUnknownVariableType]
    except ResponseError as refusal:
        return refusal


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")
