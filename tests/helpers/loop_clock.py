"""The clock of an event loop with real connections, moved forward by tests instead of waiting."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

_HOUR = 3600.0
_offsets: WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[str, float]] = WeakKeyDictionary()


def advance_loop(seconds: float) -> None:
    """Move the running event loop's clock forward; timers that are due then are called in its next iteration."""
    loop: Any = asyncio.get_running_loop()
    offset = _offsets.get(loop)
    if offset is None:
        offset = _offsets[loop] = defaultdict(float)
        real = loop.time
        loop.time = lambda: real() + offset["seconds"]
    offset["seconds"] += seconds


async def advance_until_done(*futures: asyncio.Future[Any]) -> None:
    """Move the running event loop's clock by an hour, again and again, until all futures are done.

    Do not use `asyncio.timeout` around it: its deadline would pass, too.
    """
    while not all(future.done() for future in futures):
        advance_loop(_HOUR)
        await asyncio.to_thread(lambda: None)  # a thread's answer comes by a socket: input and output get their turn
