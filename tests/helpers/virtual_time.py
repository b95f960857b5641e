"""An event loop whose clock jumps: its tests wait for nothing, and no machine is too slow for them."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

_START = 1000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only when nothing is left to do, and then at once, up to the next timer.

    It is for tests without input and output. Where nothing is left to do and no timer is set, a wait would never end:
    that raises instead.
    """

    def __init__(self) -> None:
        self._now = _START
        self._idle: list[asyncio.Future[None]] = []
        super().__init__(_NeverWaiting(self._wait))

    def time(self) -> float:
        """Return the time of the clock."""
        return self._now

    def idle(self) -> asyncio.Future[None]:
        """Return a future that is done when nothing is left to do before a timer is due."""
        future: asyncio.Future[None] = self.create_future()
        self._idle.append(future)
        return future

    def _wait(self, seconds: float | None) -> None:
        idle, self._idle = self._idle, []
        if idle:
            for future in idle:
                if not future.done():
                    future.set_result(None)
        elif seconds is None:
            message = "nothing will ever happen again, and the test waits"
            raise RuntimeError(message)
        else:
            self._now += seconds


class _NeverWaiting(selectors.DefaultSelector):
    """Calls a function instead of waiting."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready by now."""
        ready = super().select(0)
        if not ready and timeout != 0:
            self._wait(timeout)
        return ready


def now() -> float:
    """Return the time of the running event loop's clock."""
    return asyncio.get_running_loop().time()


async def idle() -> None:
    """Let everything run that can run before the clock moves."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    await loop.idle()


async def pass_time(seconds: float) -> None:
    """Move the clock; all timers that are due by then have run, in their order, and what they began."""
    await asyncio.sleep(seconds)
    await idle()
