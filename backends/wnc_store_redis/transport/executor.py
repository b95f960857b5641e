"""Execution of commands and scripts, with retries and translation of errors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from redis.exceptions import ResponseError

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis.keys import text
from wnc_store_redis.scripts import PUBLISH, Script
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.errors import code_of, is_retryable, to_store_error
from wnc_store_redis.transport.multiplexer import ConnectHungError, NoReplyError
from wnc_store_redis.transport.node import pack_command
from wnc_store_redis.transport.routing import Backoff, Router
from wnc_store_redis.transport.statistics import Statistics

Command = tuple[bytes, ...]

_SCRIPT_RESULTS = (int, list)
"""Types of the results of scripts that write."""

_ATTEMPTS = 5
"""How often a command is sent if connections are lost: the command itself may make the server close them."""


class InFlightScript(NamedTuple):
    """A script that was sent.

    Attributes:
        script: the script.
        keys: its keys; errors name the first.
        arguments: its arguments.
        deadline: when to give up, in the event loop's time.
        reply: the future of the reply; see `Router.submit`.
    """

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[bytes]
    deadline: float
    reply: asyncio.Future[Reply]


class CommandExecutor:
    """Runs commands and scripts on the servers of a router.

    The executor and its router use redis-py's connections directly. So the retries of a redis-py client, some of which
    run a write twice, never happen, and replies are bytes whatever `decode_responses` is.

    Args:
        router: finds the server for each command.
        timeout: how long an operation may take.
        statistics: the counters of the store.
    """

    def __init__(self, router: Router, timeout: timedelta, statistics: Statistics) -> None:
        self._router = router
        self.statistics = statistics
        self._opened_in = os.getpid()
        self._timeout = timeout.total_seconds()

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in the event loop's time."""
        return asyncio.get_running_loop().time() + self._timeout

    def read(self, *command: bytes, key: bytes | None = None, deadline: float | None = None) -> Awaitable[Reply]:
        """Run a read-only command on the server of a key; by default, the command's second word."""
        if key is None:
            key = command[1] if len(command) > 1 else b""
        send = partial(self._router.submit, key, pack_command(command), deadline or self.deadline(), writes=False)
        return self._with_retries(send, key, _ATTEMPTS)

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Run read-only commands in one round trip."""
        deadline = self.deadline()
        return await asyncio.gather(*(self.read(*command, deadline=deadline) for command in commands))

    def write(self, *command: bytes) -> Awaitable[Reply]:
        """Run a command that writes, without retries. Its second word is the key."""
        key = command[1]
        send = partial(self._router.submit, key, pack_command(command), self.deadline(), writes=True)
        return self._with_retries(send, key, 1, writes=True)

    async def publish(self, routing_key: bytes, channel: bytes, data: bytes) -> None:
        """Publish a message to a sharded channel, without retries.

        Args:
            routing_key: a key in the slot of the channel.
            channel: the channel.
            data: the message.
        """
        # While the slot migrates, its channels stay on the server that it migrates from.
        on_ask = pack_command((b"SPUBLISH", channel, data))
        arguments = (PUBLISH, [routing_key], (channel, data), self.deadline(), on_ask)

        async def send() -> Reply:
            reply = await self._evaluate(b"EVALSHA", PUBLISH.sha, *arguments)
            if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
                reply = await self._evaluate(b"EVAL", PUBLISH.source, *arguments)
            return reply

        await self._with_retries(send, channel, 1, writes=True)

    @property
    def forked(self) -> bool:
        """Whether this process was forked after the store was opened."""
        return os.getpid() != self._opened_in

    def check_loop(self) -> None:
        """Check that the store may be used in this event loop and process.

        Raises:
            StoreError: the store belongs to another event loop, or was opened before a fork.
        """
        self._router.check_loop()

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float | None = None
    ) -> Reply:
        """Run a script. Retry it if the connection is lost and the script is idempotent."""
        end = deadline or self.deadline()
        if script.idempotent and script.writes:
            in_flight = self.start_script(script, keys, *arguments, deadline=end)
            reply, _ = await self.finish_script(in_flight, retry_args=arguments)
            return reply

        async def attempt() -> Reply:
            return await self._reply(self.start_script(script, keys, *arguments, deadline=end))

        attempts = _ATTEMPTS if script.idempotent else 1
        return await self._with_retries(attempt, keys[0], attempts, writes=script.writes, in_script=script.writes)

    def start_script(self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float) -> InFlightScript:
        """Send a script by its SHA-1 at the end of this tick. Call `finish_script` for the outcome."""
        reply = self._evaluate(b"EVALSHA", script.sha, script, keys, arguments, deadline)
        return InFlightScript(script, keys, arguments, deadline, asyncio.ensure_future(reply))

    async def finish_script(self, in_flight: InFlightScript, *, retry_args: Sequence[bytes]) -> tuple[Reply, bool]:
        """Wait for the reply to a script that writes. If no reply arrives, run the script again to learn the outcome.

        Args:
            in_flight: a script whose reply to a retry shows whether an earlier attempt was applied.
            retry_args: the arguments of a retry.

        Returns:
            The reply, and whether it is the reply to a retry.

        Raises:
            OutcomeUnknownError: no reply arrived before the deadline.
        """
        try:
            reply = await in_flight.reply
        except (NoReplyError, StoreClosedError):
            pass  # handled below, where the future raises it again
        else:
            if type(reply) in _SCRIPT_RESULTS:  # the common case
                return reply, False
        return await self._resolve_outcome(in_flight, retry_args)

    async def _resolve_outcome(self, in_flight: InFlightScript, retry_args: Sequence[bytes]) -> tuple[Reply, bool]:
        """Continue `finish_script` if the reply is an error, or if there is none."""
        key, backoff = in_flight.keys[0], Backoff(in_flight.deadline)
        unanswered = 0  # attempts that may have reached the server, without a reply
        while True:
            try:
                reply = await self._reply(in_flight)
            except NoReplyError as error:
                failure = error.reason
                unanswered += error.sent
                if unanswered == _ATTEMPTS or not (unanswered or isinstance(failure, ConnectHungError)):
                    break
            except StoreClosedError as error:
                if not unanswered:
                    raise
                failure = error
                break
            else:
                if not (unanswered and isinstance(reply, ResponseError)):
                    return self._raise_for_error(reply, key, in_script=True), bool(unanswered)
                failure = reply
                if not is_retryable(reply):
                    break
            if not await backoff.sleep():
                break
            self.statistics.retries += 1
            script, keys, arguments, deadline, _ = in_flight
            in_flight = self.start_script(script, keys, *(retry_args if unanswered else arguments), deadline=deadline)
        raise self.to_store_error(failure, key, unanswered=bool(unanswered))

    def server_epoch(self, key: bytes) -> Hashable:
        """Return a value that changes when another server, or the same server after a restart, answers for the key."""
        return self._router.server_epoch(key)

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connections."""
        await self._router.aclose()

    async def _with_retries(
        self,
        send: Callable[[], Awaitable[Reply]],
        key: bytes,
        attempts: int,
        *,
        writes: bool = False,
        in_script: bool = False,
    ) -> Reply:
        """Return the reply to a command, sent up to `attempts` times while connections are lost."""
        was_sent = False
        while True:
            try:
                return self._raise_for_error(await send(), key, in_script=in_script)
            except NoReplyError as error:
                failure = error.reason
                was_sent = was_sent or error.sent
                attempts -= error.sent
                is_final = not (attempts and error.sent) or isinstance(failure, TimeoutError)
                if is_final and not isinstance(failure, ConnectHungError):
                    break
                self.statistics.retries += 1
        # Raised outside the handler, so that the driver's exception does not become its `__context__`.
        raise self.to_store_error(failure, key, unanswered=was_sent and writes)

    async def _reply(self, in_flight: InFlightScript) -> Reply:
        """Return the reply to a script. Send the source if the server does not have the script in its cache."""
        reply = await in_flight.reply
        if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
            script, keys, arguments, deadline, _ = in_flight
            reply = await self._evaluate(b"EVAL", script.source, script, keys, arguments, deadline)
        return reply

    def _evaluate(  # noqa: PLR0913, PLR0917 - the arguments of EVAL
        self,
        command: bytes,
        body: bytes,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        deadline: float,
        on_ask: bytes | None = None,
    ) -> Awaitable[Reply]:
        packed = pack_command((command, body, str(len(keys)).encode(), *keys, *arguments))
        return self._router.submit(keys[0], packed, deadline, writes=script.writes, on_ask=on_ask)

    def _raise_for_error(self, reply: Reply, key: bytes, *, in_script: bool) -> Reply:
        if isinstance(reply, ResponseError):
            raise self.to_store_error(reply, key, in_script=in_script)
        return reply

    def to_store_error(
        self, error: BaseException, key: bytes, *, unanswered: bool = False, in_script: bool = False
    ) -> StoreError:
        """Translate an error of the driver or the server; see `errors.to_store_error`."""
        return to_store_error(
            error, endpoint=self._router.endpoint, key=text(key), unanswered=unanswered, in_script=in_script
        )
