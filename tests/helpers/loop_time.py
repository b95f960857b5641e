"""The clock of an event loop, moved by hand, where a test with real connections is about deadlines."""

from __future__ import annotations

import asyncio
from typing import Any

HOUR = 3600.0


class LoopTime:
    """The clock of the running event loop; it never goes back. Do not wait in `asyncio.timeout` while it is moved."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._moved = 0.0
        self._real = loop.time
        loop.time = self._time  # type: ignore[method-assign]

    def _time(self) -> float:
        return self._real() + self._moved

    async def run_out(self, *futures: asyncio.Future[Any]) -> None:
        """Move the clock by an hour, again and again, until these have ended."""
        while not all(future.done() for future in futures):
            self._moved += HOUR
            await asyncio.sleep(0.001)
