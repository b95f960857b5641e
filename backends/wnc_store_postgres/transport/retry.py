"""The retry policy: after which failures a statement runs again, and with which delays."""

from __future__ import annotations

import asyncio
from socket import gaierror

from asyncpg import TargetServerAttributeNotMatched

from wnc_store import StoreUnavailableError
from wnc_store_postgres.transport.errors import (
    READ_ONLY,
    NoConnectionError,
    SchemaChangedError,
    is_lost,
    is_misconfigured,
    sqlstate,
)

MAX_LOST = 5
"""How many attempts may lose their connection: the statement itself may be what makes the server close it."""

_FIRST_DELAY = 0.005
_MAX_DELAY = 0.25

_CONFLICTS = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "WNC01",  # the writer was fenced
    "WNC03",  # the deadline has passed by the server's clock, which is read again
}
"""SQLSTATEs of a transaction that was rolled back and can succeed if it runs again."""

_PASSING = {
    "57P03",  # the server starts or stops
    "53300",  # too many connections
}
"""SQLSTATEs of a server that may serve the statement soon."""


_NOT_LISTENING = ConnectionRefusedError | FileNotFoundError | gaierror
"""Errors of an address at which no server listens. That lasts, unless another server takes over."""

_NOT_PRIMARY = TargetServerAttributeNotMatched | StoreUnavailableError
"""Errors of a standby, which may be promoted soon."""


class Attempts:
    """The failed attempts of one operation.

    Args:
        deadline: when to give up, in the event loop's time.
        has_failover: whether another server may take over, because the URL names several.
    """

    def __init__(self, deadline: float, *, has_failover: bool) -> None:
        self._deadline = deadline
        self._has_failover = has_failover
        self._delay = _FIRST_DELAY
        self._lost = 0
        self._schema_changes = 0

    async def another(self, failure: BaseException, *, in_doubt: bool = False) -> bool:
        """Record a failed attempt. Wait and return True if another follows, otherwise return False at once.

        Args:
            failure: the error of the driver.
            in_doubt: whether only another attempt can determine the outcome of a write.
        """
        if is_lost(failure):
            self._lost += 1
            if isinstance(failure, TimeoutError) or self._is_hopeless(in_doubt=in_doubt):
                return False
            return self._lost == 1 or await self._sleep()
        if isinstance(failure, SchemaChangedError):
            self._schema_changes += 1
            return self._schema_changes == 1
        if isinstance(failure, NoConnectionError):
            return self._may_connect(failure.reason, in_doubt=in_doubt) and await self._sleep()
        code = sqlstate(failure)
        may_pass = code in _CONFLICTS | _PASSING or (code == READ_ONLY and self._has_failover)
        may_pass = may_pass or (in_doubt and not is_misconfigured(failure))
        return may_pass and await self._sleep()

    def _may_connect(self, reason: BaseException, *, in_doubt: bool) -> bool:
        """Return whether another attempt to connect may succeed soon."""
        if isinstance(reason, TimeoutError) or is_misconfigured(reason):
            return False
        if sqlstate(reason) in _PASSING:
            return True
        if isinstance(reason, _NOT_PRIMARY | _NOT_LISTENING):
            return self._has_failover or in_doubt
        if is_lost(reason):
            self._lost += 1
        return is_lost(reason) and not self._is_hopeless(in_doubt=in_doubt)

    def _is_hopeless(self, *, in_doubt: bool) -> bool:
        # A proxy in front of a server that restarts accepts connections and closes them.
        return self._lost >= MAX_LOST and not in_doubt

    async def _sleep(self) -> bool:
        if asyncio.get_running_loop().time() + self._delay >= self._deadline:
            return False
        await asyncio.sleep(self._delay)
        self._delay = min(2 * self._delay, _MAX_DELAY)
        return True
