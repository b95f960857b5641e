"""An event loop whose ticks and clock are controlled by the test."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any


class SteppedLoop(asyncio.AbstractEventLoop):
    """The event loop of one process, without I/O. The test delivers received data between ticks.

    Attributes:
        problems: errors reported to the loop, such as the exception of a task that was never awaited.
    """

    def __init__(self) -> None:
        self.problems: list[dict[str, Any]] = []
        self._now = 0.0
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def has_work(self) -> bool:
        """Whether a tick would run a callback."""
        return bool(self._ready)

    def tick(self) -> None:
        """Run the ready callbacks, as a real loop does between two polls for I/O."""
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def next_timer(self) -> float | None:
        """Return the time of the next timer."""
        while self._timers and self._timers[0].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0].when() if self._timers else None

    def advance(self, now: float) -> None:
        """Advance the clock. Due timers run in the next tick."""
        self._now = max(now, self._now)
        while (due := self.next_timer()) is not None and due <= self._now:
            self._ready.append(heapq.heappop(self._timers))

    def time(self) -> float:
        """Return the time of the clock."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Schedule a callback for the next tick."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback at a time of the clock."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback after a number of seconds of the clock."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_kwargs: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """Schedule a coroutine, starting in the next tick."""
        return asyncio.Task(coro, loop=self)

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Record an error that no caller received."""
        self.problems.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Keep the handle in the heap until it is due."""
