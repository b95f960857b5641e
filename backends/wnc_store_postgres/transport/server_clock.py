"""The clock of the server, by which the server rejects writes that arrive after their deadline."""

from __future__ import annotations

import asyncio

from wnc_store_postgres.transport.connection import Connection

_READ = "SELECT extract(epoch FROM clock_timestamp())::float8"


class ServerClock:
    """The difference between the clocks of the server and of the event loop.

    It is at most as much too large as the reading took, and never too small. A write is therefore not rejected before
    its deadline, unless the server's clock is changed.
    """

    def __init__(self) -> None:
        self._difference = 0.0
        self.is_known = False

    def forget(self) -> None:
        """Read the clock again before the next statement, because the server has rejected a write as late."""
        self.is_known = False

    def at(self, loop_time: float) -> float:
        """Return the server's time at a time of the event loop, in seconds since the epoch."""
        return loop_time + self._difference

    async def read(self, connection: Connection, deadline: float) -> None:
        """Ask the server for the time, if it is not known. If it raises, the connection cannot be used again."""
        if self.is_known:
            return
        sent_at = asyncio.get_running_loop().time()
        async with asyncio.timeout_at(deadline):
            self._difference = await connection.fetchval(_READ) - sent_at
        self.is_known = True
