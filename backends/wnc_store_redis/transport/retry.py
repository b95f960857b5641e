"""The retry policy: how often an operation is attempted, after which failures, and with which delays."""

from __future__ import annotations

import asyncio

from redis.exceptions import AuthenticationError, AuthorizationError, DataError, ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.errors import (
    CANNOT_SERVE_NOW,
    EXPIRED,
    UnfencedError,
    UnknownServiceError,
    code_of,
    is_deadline,
)
from wnc_store_redis.transport.replies import UnexpectedReplyError

MAX_UNANSWERED = 5
"""How many attempts may be sent without a reply: the command itself may make the server close the connection."""

_IMMEDIATE_REDIRECTIONS = 3
"""How many redirections an operation follows without a delay."""

_FIRST_DELAY = 0.005
_MAX_DELAY = 0.25

_PASSING_CODES = {"CLUSTERDOWN", "LOADING", "MASTERDOWN", "NOREPLICAS", "READONLY", "TRYAGAIN"}
"""Error codes of `CANNOT_SERVE_NOW` that pass when a failover or a slot migration ends."""

_PERMANENT = (AuthenticationError, AuthorizationError, DataError, StoreClosedError, UnknownServiceError)


class NoReplyError(Exception):
    """Raised when no reply to a command will arrive.

    Attributes:
        reason: the error of the connection or of the attempt to connect; a TimeoutError after the deadline.
        sent: whether the server may have received the command.
    """

    def __init__(self, reason: BaseException, *, sent: bool) -> None:
        super().__init__()
        self.reason = reason
        self.sent = sent


class ConnectHungError(ConnectionError):
    """Raised when an attempt to connect hung, and the command has time left for another attempt."""


class QueryLostError(ConnectionError):
    """Raised when a query that precedes a write got no reply, so that the write was not sent."""


class RedirectedError(ResponseError):
    """The reply of a router to a command that a server has redirected. The next attempt uses another server."""


class Backoff:
    """Exponential delays between attempts, until a deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._delay = _FIRST_DELAY

    async def sleep(self) -> bool:
        """Wait before the next attempt and return True, or return False at once if the deadline is too close."""
        if asyncio.get_running_loop().time() + self._delay >= self._deadline:
            return False
        await asyncio.sleep(self._delay)
        self._delay = min(2 * self._delay, _MAX_DELAY)
        return True


class Attempts:
    """The failed attempts of one operation.

    Another attempt follows before the deadline

    - after an attempt that was sent and got no reply, while fewer than `limit` attempts are unanswered, unless it is a
      write whose reply had another type, or that the server may still receive (`UnfencedError`);
    - after one that was not sent or got a temporary error, if another server may take over, or if only another attempt
      can determine the outcome of a write;
    - after one that the server received too late according to an outdated estimate of its clock;
    - after one that was not sent although the server may be available (`ConnectHungError`, `QueryLostError`).

    Args:
        deadline: when to give up, in the event loop's time.
        limit: how many attempts may be sent without a reply; 1 if the operation must not run twice.
        writes: whether the operation may change data.
        has_failover: see `Router.has_failover`.

    Attributes:
        writes: see above.
        unanswered: how many attempts may have reached a server without a reply.
    """

    def __init__(
        self, deadline: float, limit: int = MAX_UNANSWERED, *, writes: bool = False, has_failover: bool
    ) -> None:
        self._backoff = Backoff(deadline)
        self._limit = limit
        self.writes = writes
        self._has_failover = has_failover
        self._failed = 0
        self.unanswered = 0

    @property
    def in_doubt(self) -> bool:
        """Whether an attempt may have written without a reply. Only another attempt can determine the outcome."""
        return self.writes and self.unanswered > 0

    async def another(self, failure: BaseException) -> bool:
        """Record a failed attempt. Wait and return True if another attempt follows, otherwise return False at once."""
        self._failed += 1
        if isinstance(failure, NoReplyError):
            self.unanswered += failure.sent
        if not self._is_retryable(failure):
            return False
        if isinstance(failure, RedirectedError):
            is_immediate = self._failed <= _IMMEDIATE_REDIRECTIONS
        else:
            # If the reply to a read makes the server close the connection, a delay like that of the interrupted writes
            # would let the read interrupt each of their attempts.
            is_immediate = isinstance(failure, NoReplyError) and failure.sent and not self.writes
        return is_immediate or await self._backoff.sleep()

    def _is_retryable(self, failure: BaseException) -> bool:
        reason = failure.reason if isinstance(failure, NoReplyError) else failure
        if self.writes and isinstance(reason, UnexpectedReplyError | UnfencedError):  # it may still run
            return False
        if isinstance(failure, NoReplyError) and failure.sent:
            return self.unanswered < self._limit and not is_deadline(reason)
        if isinstance(reason, ResponseError) and code_of(reason) == EXPIRED:
            return True
        if isinstance(reason, ConnectHungError | QueryLostError):
            return True
        if self.in_doubt:
            is_temporary = isinstance(reason, ResponseError) and code_of(reason) in CANNOT_SERVE_NOW
            return isinstance(failure, NoReplyError) or is_temporary
        return self._has_failover and may_pass(reason)


def may_pass(reason: BaseException) -> bool:
    """Return whether a command was not executed for a reason that passes when a failover or a slot migration ends."""
    if isinstance(reason, ResponseError):
        return code_of(reason) in _PASSING_CODES
    return not (isinstance(reason, _PERMANENT) or is_deadline(reason))
