"""Execution of commands and scripts, with retries and translation of errors."""

from __future__ import annotations

import asyncio
import hashlib
import os
import weakref
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from redis.exceptions import ResponseError

from wnc_store import OutcomeUnknownError, SecretBytes, StoreClosedError, StoreError
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.errors import code_of, to_store_error
from wnc_store_redis.transport.packing import EXPIRY, EXPIRY_SIZE, pack_command
from wnc_store_redis.transport.product import REDIS
from wnc_store_redis.transport.receiver import Receiver
from wnc_store_redis.transport.replies import SHAPES, Decode, UnexpectedReplyError
from wnc_store_redis.transport.retry import MAX_UNANSWERED, Attempts, NoReplyError
from wnc_store_redis.transport.routing import Router
from wnc_store_redis.transport.statistics import Statistics

Command = tuple[bytes, ...]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Script(Generic[_T]):
    """A Lua script.

    Attributes:
        source: the text of the script.
        decode: decodes the script's replies.
        writes: whether the script may change data.
        idempotent: whether a second run for the same call changes nothing and returns the same result.
        on_ask: whether to send the arguments as a command instead, if a server of a cluster replies with ASK.
        sha: the SHA-1 digest of the source, for EVALSHA.
    """

    source: bytes
    decode: Decode[_T]
    writes: bool
    idempotent: bool
    on_ask: bool = False
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode())


class ScriptCall(Generic[_T]):
    """A script with its keys and arguments.

    Attributes:
        script: the script.
        keys: its keys; errors name the first.
        arguments: its arguments.
        retry_args: the arguments of another run, whose reply shows whether an earlier run was applied; None if the
            script must not run again.
        deadline: when to give up, in the event loop's time; 0 until the call starts, if it was not given.
    """

    __slots__ = ("arguments", "deadline", "keys", "retry_args", "script")

    def __init__(
        self,
        script: Script[_T],
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        retry_args: Sequence[bytes] | None,
        deadline: float = 0.0,
    ) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.retry_args = retry_args
        self.deadline = deadline


class CommandExecutor:
    """Runs commands and scripts on the servers of a router.

    The executor and its router use redis-py's connections directly. So the retries of a redis-py client, some of which
    run a write twice, never happen, and replies are bytes whatever `decode_responses` is.

    Args:
        router: finds the server for each command.
        timeout: how long an operation may take.
        statistics: the counters of the store.

    Attributes:
        timeout: how long an operation may take, in seconds.
        product: the product that errors and hints name.
    """

    def __init__(self, router: Router, timeout: timedelta, statistics: Statistics) -> None:
        self._router = router
        self.product = REDIS
        self.statistics = statistics
        self.timeout = timeout.total_seconds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        _ALL.add(self)

    @property
    def forked(self) -> bool:
        """Whether this process was forked after the store was first used."""
        return self._process not in {None, os.getpid()}

    def running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop. The first call binds the store to it. No operation sends anything before.

        Raises:
            StoreError: the store belongs to another event loop, or was used before a fork.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        return loop

    def deadline(self) -> float:
        """Return the deadline of an operation that begins now, in the event loop's time. See `running_loop`."""
        return self.running_loop().time() + self.timeout

    async def read(
        self,
        command: bytes,
        *arguments: bytes,
        key: bytes | None = None,
        deadline: float | None = None,
        decode: Decode[Any] | None = None,
    ) -> Any:
        """Run a read-only command on the server of a key; by default, its first argument.

        Args:
            command: the name of the command.
            arguments: its arguments.
            key: the key; b"" if the command has none.
            deadline: when to give up, in the event loop's time; by default, after the time-out.
            decode: decodes the reply; by default, the reply is returned unchanged.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        name = key if key is not None else arguments[0] if arguments else b""
        packed, end = pack_command((command, *arguments)), deadline or loop.time() + self.timeout
        decode = decode or SHAPES[command]

        first: asyncio.Future[Reply] = loop.create_future()
        self._router.submit(first, name, packed, end, writes=False)
        try:
            return decode(await first)
        except (NoReplyError, StoreClosedError, UnexpectedReplyError):
            pass  # `_run` handles it
        except BaseException:
            del first  # a tool that records local variables would show the reply, which may be a room with its token
            raise

        def again(_: Attempts) -> asyncio.Future[Reply]:
            reply: asyncio.Future[Reply] = loop.create_future()
            self._router.submit(reply, name, packed, end, writes=False)
            return reply

        running = self._run(first, again, name, decode, self._attempts(end, MAX_UNANSWERED, writes=False))
        del first
        return await running

    async def read_many(self, commands: Sequence[Command]) -> list[Reply]:
        """Run read-only commands in one round trip."""
        deadline = self.deadline()
        return await asyncio.gather(*(self.read(*command, deadline=deadline) for command in commands))

    async def run_script(self, script: Script[_T], keys: Sequence[bytes], *arguments: bytes) -> _T:
        """Run a script. If it may have run without a reply, run it again only if it is idempotent."""
        retry_args = arguments if script.idempotent else None
        result, _ = await self.call_script(ScriptCall(script, keys, arguments, retry_args))
        return result

    async def call_script(self, call: ScriptCall[_T]) -> tuple[_T, bool]:
        """Run a script. If no reply arrives, run it again to learn the outcome.

        Returns:
            The result, and whether an earlier attempt may have run.

        Raises:
            OutcomeUnknownError: the script writes, and no attempt determined the outcome.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._bind(loop)
        call.deadline = call.deadline or loop.time() + self.timeout
        first: asyncio.Future[Reply] = loop.create_future()
        self.send_script(call, first)
        try:
            return call.script.decode(await first), False
        except (NoReplyError, StoreClosedError, UnexpectedReplyError):
            pass  # `finish_script` handles it
        finishing = self.finish_script(call, first)
        del first
        return await finishing

    def send_script(
        self, call: ScriptCall[Any], receiver: Receiver, *, retry: bool = False, by_source: bool = False
    ) -> None:
        """Send a script at the end of this tick, by its SHA-1 unless `by_source`. `retry` selects its arguments."""
        script, keys = call.script, call.keys
        arguments = call.retry_args if retry and call.retry_args is not None else call.arguments
        command = (b"EVAL", script.source) if by_source else (b"EVALSHA", script.sha)
        words = (*command, b"%d" % len(keys), *keys, *arguments)
        packed = pack_command((*words, EXPIRY))[:-EXPIRY_SIZE] if script.writes else pack_command(words)
        on_ask = SecretBytes(pack_command(arguments)) if script.on_ask else None
        self._router.submit(receiver, keys[0], SecretBytes(packed), call.deadline, writes=script.writes, on_ask=on_ask)

    async def finish_script(self, call: ScriptCall[_T], first: asyncio.Future[Reply]) -> tuple[_T, bool]:
        """Continue `call_script` after the first attempt, which is done."""
        is_retry = False

        def attempt(earlier: Attempts) -> Awaitable[Reply]:
            nonlocal is_retry
            is_retry = earlier.unanswered > 0
            reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self.send_script(call, reply, retry=is_retry)
            return self._or_by_source(call, reply, retry=is_retry)

        attempts = self._attempts(
            call.deadline, 1 if call.retry_args is None else MAX_UNANSWERED, writes=call.script.writes
        )
        reply = self._or_by_source(call, first)
        del first
        result = await self._run(reply, attempt, call.keys[0], call.script.decode, attempts)
        return result, is_retry

    def server_epoch(self, key: bytes) -> Hashable:
        """Return a value that changes when another server, or the same server after a restart, answers for the key."""
        return self._router.server_epoch(key)

    async def aclose(self) -> None:
        """Fail unsent commands, wait for sent ones, and close the connections. A forked child leaves them open."""
        if not self.forked:
            await self._router.aclose()

    def _bind(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.forked:
            message = "the store was used before this process was forked; open a store in each process"
            raise StoreError(message)
        if self._loop is not None:
            message = "the store was used in another event loop; open a store in each event loop"
            raise StoreError(message)
        self._loop, self._process = loop, os.getpid()
        self._router.start()

    def on_fork(self) -> None:
        """Forget the event loop in a forked child, which may run it, too. The next operation is refused."""
        self._loop = None

    def _attempts(self, deadline: float, limit: int, *, writes: bool) -> Attempts:
        return Attempts(deadline, limit, writes=writes, has_failover=self._router.has_failover)

    async def _run(
        self,
        first: Awaitable[Reply],
        again: Callable[[Attempts], Awaitable[Reply]],
        key: bytes,
        decode: Decode[_T],
        attempts: Attempts,
    ) -> _T:
        """Return the decoded reply of the first attempt that succeeds. `again` starts another attempt.

        A reply of another shape does not show whether the command was executed. It counts as a lost reply. No local
        variable holds a reply when an error is raised, because it may be a room with its token.
        """
        pending = first
        del first
        while True:
            try:
                reply = await pending
            except (NoReplyError, StoreClosedError) as error:
                failure = error
            else:
                del pending
                try:
                    return decode(reply)
                except UnexpectedReplyError as error:
                    failure = reply
                    if not isinstance(reply, ResponseError):
                        self._router.drop(key)  # the replies behind it may belong to other requests
                        failure = NoReplyError(error, sent=True)
                finally:
                    del reply
            if not await attempts.another(failure):
                break
            self.statistics.retries += 1
            pending = again(attempts)
        # Raised outside the handler, so that the driver's exception does not become its `__context__`.
        if isinstance(failure, StoreClosedError) and not attempts.in_doubt:
            raise failure
        raise self.to_store_error(failure, key, unanswered=attempts.in_doubt, in_script=attempts.writes)

    async def _or_by_source(self, call: ScriptCall[Any], first: asyncio.Future[Reply], *, retry: bool = False) -> Reply:
        """Return the reply to a script. Send the source if the server does not have the script in its cache."""
        reply = await first
        if isinstance(reply, ResponseError) and code_of(reply) == "NOSCRIPT":
            second: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
            self.send_script(call, second, retry=retry, by_source=True)
            reply = await second
        return reply

    def to_store_error(
        self, error: BaseException, key: bytes, *, unanswered: bool = False, in_script: bool = False
    ) -> StoreError:
        """Translate an error of the driver or the server, or the reason of a `NoReplyError`; see `errors`."""
        reason = error.reason if isinstance(error, NoReplyError) else error
        name = key.decode("utf-8", "replace")
        translated = to_store_error(
            reason,
            endpoint=self._router.endpoint,
            key=name,
            unanswered=unanswered,
            in_script=in_script,
            product=self.product,
        )
        if isinstance(translated, OutcomeUnknownError):
            # The deadline is at most one time-out away, and the clock of a session deviates by at most another.
            translated.final_after = timedelta(seconds=2 * self.timeout)
        return translated


_ALL: weakref.WeakSet[CommandExecutor] = weakref.WeakSet()


def _after_fork() -> None:
    for executor in _ALL:
        executor.on_fork()


os.register_at_fork(after_in_child=_after_fork)
