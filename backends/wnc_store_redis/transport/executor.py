"""Execution of commands and scripts, with retries and translation of errors."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from redis.exceptions import ResponseError

from wnc_store import OutcomeUnknownError, SecretBytes, StoreClosedError, StoreError
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.errors import code_of, to_store_error
from wnc_store_redis.transport.node import pack_command, pack_without_expiry
from wnc_store_redis.transport.replies import SHAPES, IsValid, UnexpectedReplyError
from wnc_store_redis.transport.retry import MAX_UNANSWERED, Attempts, NoReplyError
from wnc_store_redis.transport.routing import Router
from wnc_store_redis.transport.statistics import Statistics

Command = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        source: the text of the script.
        is_valid: returns whether a reply has the shape of the script's replies.
        writes: whether the script may change data.
        idempotent: whether a second run for the same call changes nothing and returns the same result.
        on_ask: whether to send the arguments as a command instead, if a server of a cluster replies with ASK.
        sha: the SHA-1 digest of the source, for EVALSHA.
    """

    source: bytes
    is_valid: IsValid
    writes: bool
    idempotent: bool
    on_ask: bool = False
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode())


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
        self._used_in: int | None = None
        self._timeout = timeout.total_seconds()

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in the event loop's time."""
        if self._used_in is None:
            self._used_in = os.getpid()
        return asyncio.get_running_loop().time() + self._timeout

    def read(
        self, command: bytes, *arguments: bytes, key: bytes | None = None, deadline: float | None = None
    ) -> Awaitable[Reply]:
        """Run a read-only command on the server of a key; by default, its first argument."""
        name = key if key is not None else arguments[0] if arguments else b""
        packed, end = pack_command((command, *arguments)), deadline or self.deadline()
        shape, submit = SHAPES[command], self._router.submit
        return self._run(
            lambda _: submit(name, packed, end, writes=False), name, end, shape, MAX_UNANSWERED, writes=False
        )

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Run read-only commands in one round trip."""
        deadline = self.deadline()
        return await asyncio.gather(*(self.read(*command, deadline=deadline) for command in commands))

    @property
    def forked(self) -> bool:
        """Whether this process was forked after the store was first used."""
        return self._used_in not in {None, os.getpid()}

    def check_loop(self) -> None:
        """Check that the store may be used in this event loop and process.

        Raises:
            StoreError: the store belongs to another event loop, or was used before a fork.
        """
        self._router.check_loop()
        if self._used_in is None:
            self._used_in = os.getpid()

    async def run_script(
        self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float | None = None
    ) -> Reply:
        """Run a script. If it may have run without a reply, run it again only if it is idempotent."""
        in_flight = self.start_script(script, keys, *arguments, deadline=deadline or self.deadline())
        reply, _ = await self.finish_script(in_flight, retry_args=arguments if script.idempotent else None)
        return reply

    def start_script(self, script: Script, keys: Sequence[bytes], *arguments: bytes, deadline: float) -> InFlightScript:
        """Send a script by its SHA-1 at the end of this tick. Call `finish_script` for the outcome."""
        reply = self._evaluate(script, keys, arguments, deadline)
        return InFlightScript(script, keys, arguments, deadline, asyncio.ensure_future(reply))

    async def finish_script(
        self, in_flight: InFlightScript, *, retry_args: Sequence[bytes] | None
    ) -> tuple[Reply, bool]:
        """Wait for the reply to a script. If none arrives, run the script again to learn the outcome.

        Args:
            in_flight: the script.
            retry_args: the arguments of a script that runs again, whose reply shows whether an earlier attempt was
                applied; None if the script must not run again.

        Returns:
            The reply, and whether an earlier attempt may have run.

        Raises:
            OutcomeUnknownError: the script writes, and no attempt determined the outcome.
        """
        try:
            reply = await in_flight.reply
        except (NoReplyError, StoreClosedError):
            pass  # the future raises it again below
        else:
            if in_flight.script.is_valid(reply):  # the common case
                return reply, False
        return await self._resolve_outcome(in_flight, retry_args)

    async def _resolve_outcome(
        self, in_flight: InFlightScript, retry_args: Sequence[bytes] | None
    ) -> tuple[Reply, bool]:
        """Continue `finish_script` if there is no valid reply."""
        script, keys, arguments, deadline, _ = in_flight
        is_retry = False

        def attempt(earlier: Attempts | None) -> Awaitable[Reply]:
            nonlocal is_retry
            if earlier is None:
                return self._reply(in_flight)
            is_retry = earlier.unanswered > 0
            again = retry_args if is_retry and retry_args is not None else arguments
            return self._reply(self.start_script(script, keys, *again, deadline=deadline))

        limit = 1 if retry_args is None else MAX_UNANSWERED
        writes = script.writes
        reply = await self._run(attempt, keys[0], deadline, script.is_valid, limit, writes=writes, in_script=writes)
        return reply, is_retry

    def server_epoch(self, key: bytes) -> Hashable:
        """Return a value that changes when another server, or the same server after a restart, answers for the key."""
        return self._router.server_epoch(key)

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connections."""
        await self._router.aclose()

    async def _run(  # noqa: PLR0913 - what the retry policy depends on
        self,
        attempt: Callable[[Attempts | None], Awaitable[Reply]],
        key: bytes,
        deadline: float,
        is_valid: IsValid,
        limit: int,
        *,
        writes: bool,
        in_script: bool = False,
    ) -> Reply:
        """Return the reply of the first attempt that succeeds. The argument of an attempt is the earlier ones.

        A reply of another shape does not show whether the command was executed. It counts as a lost reply.
        """
        attempts: Attempts | None = None
        while True:
            try:
                reply = await attempt(attempts)
            except (NoReplyError, StoreClosedError) as error:
                failure = error
            else:
                if is_valid(reply):
                    return reply
                failure = reply
                if not isinstance(reply, ResponseError):
                    self._router.drop(key)  # the replies behind it may belong to other requests
                    failure = NoReplyError(UnexpectedReplyError(), sent=True)
            attempts = attempts or Attempts(deadline, limit, writes=writes, has_failover=self._router.has_failover)
            if not await attempts.another(failure):
                break
            self.statistics.retries += 1
        # Raised outside the handler, so that the driver's exception does not become its `__context__`.
        if isinstance(failure, StoreClosedError) and not attempts.in_doubt:
            raise failure
        raise self.to_store_error(failure, key, unanswered=attempts.in_doubt, in_script=in_script)

    async def _reply(self, in_flight: InFlightScript) -> Reply:
        """Return the reply to a script. Send the source if the server does not have the script in its cache."""
        script, keys, arguments, deadline, future = in_flight
        reply = await future
        if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
            reply = await self._evaluate(script, keys, arguments, deadline, by_source=True)
        return reply

    def _evaluate(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        deadline: float,
        *,
        by_source: bool = False,
    ) -> Awaitable[Reply]:
        command = (b"EVAL", script.source) if by_source else (b"EVALSHA", script.sha)
        words = (*command, str(len(keys)).encode(), *keys, *arguments)
        packed = SecretBytes(pack_without_expiry(words) if script.writes else pack_command(words))
        on_ask = SecretBytes(pack_command(arguments)) if script.on_ask else None
        return self._router.submit(keys[0], packed, deadline, writes=script.writes, on_ask=on_ask)

    def to_store_error(
        self, error: BaseException, key: bytes, *, unanswered: bool = False, in_script: bool = False
    ) -> StoreError:
        """Translate an error of the driver or the server, or the reason of a `NoReplyError`; see `errors`."""
        reason = error.reason if isinstance(error, NoReplyError) else error
        name = key.decode("utf-8", "replace")
        translated = to_store_error(
            reason, endpoint=self._router.endpoint, key=name, unanswered=unanswered, in_script=in_script
        )
        if isinstance(translated, OutcomeUnknownError):
            # The deadline is at most one time-out away, and the clock of a session deviates by at most another.
            translated.final_after = timedelta(seconds=2 * self._timeout)
        return translated
