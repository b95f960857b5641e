"""Commands to the server, and what comes of them: replies, or the library's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from wnc_store import StoreError
from wnc_store_redis._errors import code_of, is_passing, translate
from wnc_store_redis._keys import text
from wnc_store_redis._link import Reply
from wnc_store_redis._multiplexer import Multiplexer, Unanswered
from wnc_store_redis._scripts import Script

Command = tuple[bytes, ...]

# Its stub takes tuples of one word only.
pack_command = cast("Callable[[Command], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

_ATTEMPTS = 5
"""How often a command is sent when connections are lost: it may be the command that makes the server close them."""

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25
"""Seconds between attempts to find out what became of a write; each pause is twice as long as the one before."""


class Commands:
    """Commands on one client.

    Its retries are the only ones: connections come from the client's pool and are used directly, so those that a client
    may hide (some run a write twice) never happen, and replies are bytes whatever `decode_responses` says.

    Args:
        client: redis-py's asyncio client, with any settings.
        where: the server's address, for errors.
        timeout: how long an operation may take.
    """

    def __init__(self, client: Redis, where: str, timeout: timedelta) -> None:
        self._where = where
        self._timeout = timeout.total_seconds()
        self._multiplexer = Multiplexer(client.connection_pool, self._timeout)

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self._timeout

    async def read(self, *command: bytes, deadline: float | None = None) -> Reply:
        """Send a command that changes nothing; its second word is the key, for errors."""
        key = command[1] if len(command) > 1 else b""
        send = partial(self._multiplexer.submit, pack_command(command), deadline or self.deadline())
        return self._value(await self._attempt(send, key, _ATTEMPTS), key)

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands that change nothing in one round trip."""
        deadline = self.deadline()
        return await asyncio.gather(*(self.read(*command, deadline=deadline) for command in commands))

    async def write(self, *command: bytes) -> Reply:
        """Send a command that changes something, once; its second word is the key, for errors."""
        key = command[1]
        send = partial(self._multiplexer.submit, pack_command(command), self.deadline())
        return self._value(await self._attempt(send, key, 1, writes=True), key)

    @property
    def forked(self) -> bool:
        """Whether this is a process that was forked off after the store was opened."""
        return self._multiplexer.forked

    def check_loop(self) -> None:
        """Return if the store may be used here.

        Raises:
            StoreError: the store belongs to another event loop, or was opened before a fork.
        """
        self._multiplexer.check_loop()

    async def run(self, script: Script, keys: Sequence[bytes], *arguments: bytes) -> Reply:
        """Run a script, again if the connection is lost and it may be repeated; the first key is named in errors."""
        send = partial(self._evaluate, script, keys, arguments, self.deadline())
        reply = await self._attempt(send, keys[0], _ATTEMPTS if script.repeatable else 1, writes=script.writes)
        return self._value(reply, keys[0], in_script=script.writes)

    async def settle(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes, again: Sequence[bytes], deadline: float
    ) -> tuple[Reply, bool]:
        """Run a script that writes; while its outcome is unknown, run it again to find out.

        Args:
            script: one whose reply to a repetition tells what became of the attempts before.
            keys: the first is named in errors.
            arguments: of the first attempt.
            again: the arguments of a repetition.
            deadline: when to give up, as `deadline()` returns it.

        Returns:
            The reply, and whether it is the reply to a repetition.

        Raises:
            OutcomeUnknownError: the server could not be asked in time.
        """
        key, pause, sent = keys[0], 0.0, 0
        while True:
            try:
                reply = await self._evaluate(script, keys, again if sent else arguments, deadline)
            except Unanswered as unanswered:
                failure = unanswered.reason
                sent += unanswered.sent
                if not sent or sent == _ATTEMPTS:
                    break
            else:
                if not (sent and isinstance(reply, ResponseError)):
                    return self._value(reply, key, in_script=True), bool(sent)
                failure = reply
                if not is_passing(reply):
                    break
            if asyncio.get_running_loop().time() + pause >= deadline:
                break
            await asyncio.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        raise self.failure(failure, key, unanswered=bool(sent))

    async def aclose(self) -> None:
        """Refuse what was not sent, wait for what was, and close the connection."""
        await self._multiplexer.aclose()

    async def _attempt(
        self, send: Callable[[], Awaitable[Reply]], key: bytes, attempts: int, *, writes: bool = False
    ) -> Reply:
        """Return the reply, an error of the server's included; send again when the connection is lost."""
        sent = False
        while True:
            try:
                return await send()
            except Unanswered as unanswered:
                failure = unanswered.reason
                sent = sent or unanswered.sent
                attempts -= 1
                if not (attempts and unanswered.sent) or isinstance(failure, TimeoutError):
                    break
        # Raised outside the handler: the driver's exception would stay within reach as the context.
        raise self.failure(failure, key, unanswered=sent and writes)

    async def _evaluate(
        self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes], deadline: float
    ) -> Reply:
        """Run a script by its SHA-1, or by its source where the server has forgotten it."""
        tail = (str(len(keys)).encode(), *keys, *arguments)
        reply = await self._multiplexer.submit(pack_command((b"EVALSHA", script.sha, *tail)), deadline)
        if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
            reply = await self._multiplexer.submit(pack_command((b"EVAL", script.source, *tail)), deadline)
        return reply

    def _value(self, reply: Reply, key: bytes, *, in_script: bool = False) -> Reply:
        if isinstance(reply, ResponseError):
            raise self.failure(reply, key, in_script=in_script)
        return reply

    def failure(
        self, error: BaseException, key: bytes, *, unanswered: bool = False, in_script: bool = False
    ) -> StoreError:
        """Return the library's error for one of the driver's or the server's, as `translate` says."""
        return translate(error, where=self._where, key=text(key), unanswered=unanswered, in_script=in_script)
