"""Control of the clock of an event loop with real connections, so that tests need not wait."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

_HOUR = 3600.0
_offsets: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, float]] = WeakKeyDictionary()


def advance_loop(seconds: float) -> None:
    """Advance the clock of the running event loop. Due timers are called in its next iteration."""
    loop: Any = asyncio.get_running_loop()
    offset = _offsets.get(loop)
    if offset is None:
        offset = _offsets[loop] = defaultdict(float)
        real = loop.time
        loop.time = lambda: real() + offset["seconds"]
    offset["seconds"] += seconds


async def advance_until_done(*futures: asyncio.Future[Any]) -> None:
    """Advance the clock of the running event loop by an hour repeatedly until all futures are done.

    Do not call it inside `asyncio.timeout`, whose deadline would pass, too.
    """
    while not all(future.done() for future in futures):
        advance_loop(_HOUR)
        await asyncio.to_thread(lambda: None)  # the thread's result arrives by a socket, so the loop polls for I/O
