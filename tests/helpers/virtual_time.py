"""An event loop with virtual time, so that tests do not wait and do not depend on the machine's speed."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

_START = 1000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock advances to the next timer when no callback is ready.

    It is for tests without I/O. If no callback is ready and no timer is set, it raises an error instead of blocking
    forever.
    """

    def __init__(self) -> None:
        self._now = _START
        self._idle: list[asyncio.Future[None]] = []
        super().__init__(_NeverWaiting(self._wait))

    def time(self) -> float:
        """Return the time of the virtual clock."""
        return self._now

    def idle(self) -> asyncio.Future[None]:
        """Return a future that completes when no callback is ready and the clock would advance."""
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
            message = "deadlock: no callback is ready and no timer is set"
            raise RuntimeError(message)
        else:
            self._now += seconds


class _NeverWaiting(selectors.DefaultSelector):
    """A selector that calls a function instead of waiting."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now."""
        ready = super().select(0)
        if not ready and timeout != 0:
            self._wait(timeout)
        return ready


def now() -> float:
    """Return the time of the running event loop's clock."""
    return asyncio.get_running_loop().time()


async def idle() -> None:
    """Run every ready callback before the clock advances."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    await loop.idle()


async def pass_time(seconds: float) -> None:
    """Advance the clock, and run all due timers in order and the callbacks that they schedule."""
    await asyncio.sleep(seconds)
    await idle()
