"""Commands to the server, and what comes of them: replies, or the library's errors."""

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
"""What scripts that write return."""

_ATTEMPTS = 5
"""How often a command is sent when connections are lost: it may be the command that makes the server close them."""


class InFlightScript(NamedTuple):
    """A script that was sent.

    Attributes:
        script: the script.
        keys: its keys; the first is named in errors.
        arguments: its arguments.
        deadline: when to give up, as `CommandExecutor.deadline` returns it.
        reply: what will come, as `Router.submit` says.
    """

    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[bytes]
    deadline: float
    reply: asyncio.Future[Reply]


class CommandExecutor:
    """Commands on the servers that a route leads to.

    Its retries, and those of the route, are the only ones: connections are used directly, so those that a client may
    hide (some run a write twice) never happen, and replies are bytes whatever `decode_responses` says.

    Args:
        route: the way to the servers.
        timeout: how long an operation may take.
        counts: of the store.
    """

    def __init__(self, route: Router, timeout: timedelta, counts: Statistics) -> None:
        self._router = route
        self.statistics = counts
        self._process = os.getpid()
        self._timeout = timeout.total_seconds()
        self.is_sharded = route.is_sharded

    def deadline(self) -> float:
        """Return when an operation that begins now has to end, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self._timeout

    def read(self, *command: bytes, deadline: float | None = None) -> Awaitable[Reply]:
        """Send a command that changes nothing; its second word is the key, for errors."""
        key = command[1] if len(command) > 1 else b""
        send = partial(self._router.submit, key, pack_command(command), deadline or self.deadline(), writes=False)
        return self._with_retries(send, key, _ATTEMPTS)

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands that change nothing in one round trip."""
        deadline = self.deadline()
        return await asyncio.gather(*(self.read(*command, deadline=deadline) for command in commands))

    def write(self, *command: bytes) -> Awaitable[Reply]:
        """Send a command that changes something, once; its second word is the key, for errors."""
        key = command[1]
        send = partial(self._router.submit, key, pack_command(command), self.deadline(), writes=True)
        return self._with_retries(send, key, 1, writes=True)

    async def publish(self, beside: bytes, channel: bytes, data: bytes) -> None:
        """Publish something in a sharded channel, once.

        Args:
            beside: the key in whose slot the channel is.
            channel: where.
            data: what.
        """
        # While the slot is on its way, the channel stays where the slot comes from.
        plain = pack_command((b"SPUBLISH", channel, data))
        arguments = (PUBLISH, [beside], (channel, data), self.deadline(), plain)

        async def send() -> Reply:
            reply = await self._evaluate(b"EVALSHA", PUBLISH.sha, *arguments)
            if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
                reply = await self._evaluate(b"EVAL", PUBLISH.source, *arguments)
            return reply

        await self._with_retries(send, channel, 1, writes=True)

    @property
    def forked(self) -> bool:
        """Whether this is a process that was forked off after the store was opened."""
        return os.getpid() != self._process

    def check_loop(self) -> None:
        """Return if the store may be used here.

        Raises:
            StoreError: the store belongs to another event loop, or was opened before a fork.
        """
        self._router.check_loop()

    async def write_idempotent(self, commands: Sequence[Command], deadline: float) -> list[Reply]:
        """Send commands that write what no caller waits to be told of, and that may run twice or not at all."""

        def send(command: Command) -> Awaitable[Reply]:
            key = command[1]
            attempt = partial(self._router.submit, key, pack_command(command), deadline, writes=True)
            return self._with_retries(attempt, key, _ATTEMPTS)

        return await asyncio.gather(*(send(command) for command in commands))

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float | None = None
    ) -> Reply:
        """Run a script, again if the connection is lost and it may be repeated; the first key is named in errors."""
        end = deadline or self.deadline()
        if script.idempotent and script.writes:
            reply, _ = await self.finish_script(
                self.start_script(script, keys, *arguments, deadline=end), again=arguments
            )
            return reply

        async def attempt() -> Reply:
            return await self._reply(self.start_script(script, keys, *arguments, deadline=end))

        attempts = _ATTEMPTS if script.idempotent else 1
        return await self._with_retries(attempt, keys[0], attempts, writes=script.writes, in_script=script.writes)

    def start_script(self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float) -> InFlightScript:
        """Send a script, by its SHA-1, at the end of this tick; what comes of it is for `settle` to say."""
        reply = self._evaluate(b"EVALSHA", script.sha, script, keys, arguments, deadline)
        return InFlightScript(script, keys, arguments, deadline, asyncio.ensure_future(reply))

    async def finish_script(self, sent: InFlightScript, *, again: Sequence[bytes]) -> tuple[Reply, bool]:
        """Wait for the reply to a script that writes; while its outcome is unknown, run it again to find out.

        Args:
            sent: a script whose reply to a repetition tells what became of the attempts before.
            again: the arguments of a repetition.

        Returns:
            The reply, and whether it is the reply to a repetition.

        Raises:
            OutcomeUnknownError: the server could not be asked in time.
        """
        try:
            reply = await sent.reply
        except (NoReplyError, StoreClosedError):
            pass  # it is raised again below
        else:
            if type(reply) in _SCRIPT_RESULTS:  # the usual end
                return reply, False
        return await self._resolve_outcome(sent, again)

    async def _resolve_outcome(self, sent: InFlightScript, again: Sequence[bytes]) -> tuple[Reply, bool]:
        """Do what `settle` says, where the reply is anything but an answer."""
        key, pauses, received = sent.keys[0], Backoff(sent.deadline), 0
        while True:
            try:
                reply = await self._reply(sent)
            except NoReplyError as unanswered:
                failure = unanswered.reason
                received += unanswered.sent
                if received == _ATTEMPTS or not (received or isinstance(failure, ConnectHungError)):
                    break
            except StoreClosedError as closed:
                if not received:
                    raise
                failure = closed
                break
            else:
                if not (received and isinstance(reply, ResponseError)):
                    return self._raise_for_error(reply, key, in_script=True), bool(received)
                failure = reply
                if not is_retryable(reply):
                    break
            if not await pauses.sleep():
                break
            self.statistics.retries += 1
            arguments = again if received else sent.arguments
            sent = self.start_script(sent.script, sent.keys, *arguments, deadline=sent.deadline)
        raise self.to_store_error(failure, key, unanswered=bool(received))

    def server_epoch(self, key: bytes) -> Hashable:
        """Return what is another value when another server, or one started anew, has answered for the key since."""
        return self._router.server_epoch(key)

    async def aclose(self) -> None:
        """Refuse what was not sent, wait for what was, and close the connections."""
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
        """Return the reply; send again when the connection is lost."""
        sent = False
        while True:
            try:
                return self._raise_for_error(await send(), key, in_script=in_script)
            except NoReplyError as unanswered:
                failure = unanswered.reason
                sent = sent or unanswered.sent
                attempts -= unanswered.sent
                is_over = not (attempts and unanswered.sent) or isinstance(failure, TimeoutError)
                if is_over and not isinstance(failure, ConnectHungError):
                    break
                self.statistics.retries += 1
        # Raised outside the handler: the driver's exception would stay within reach as the context.
        raise self.to_store_error(failure, key, unanswered=sent and writes)

    async def _reply(self, sent: InFlightScript) -> Reply:
        """Return the reply to a script, which is sent as a whole where the server has forgotten it."""
        reply = await sent.reply
        if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
            script, keys, arguments, deadline, _ = sent
            reply = await self._evaluate(b"EVAL", script.source, script, keys, arguments, deadline)
        return reply

    def _evaluate(  # noqa: PLR0913, PLR0917 - what EVAL takes
        self,
        command: bytes,
        body: bytes,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        deadline: float,
        instead: bytes | None = None,
    ) -> Awaitable[Reply]:
        packed = pack_command((command, body, str(len(keys)).encode(), *keys, *arguments))
        return self._router.submit(keys[0], packed, deadline, writes=script.writes, instead=instead)

    def _raise_for_error(self, reply: Reply, key: bytes, *, in_script: bool) -> Reply:
        if isinstance(reply, ResponseError):
            raise self.to_store_error(reply, key, in_script=in_script)
        return reply

    def to_store_error(
        self, error: BaseException, key: bytes, *, unanswered: bool = False, in_script: bool = False
    ) -> StoreError:
        """Return the library's error for one of the driver's or the server's, as `to_store_error` says."""
        return to_store_error(
            error, where=self._router.endpoint, key=text(key), unanswered=unanswered, in_script=in_script
        )
