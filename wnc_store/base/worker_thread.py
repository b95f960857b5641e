"""Thread for drivers that block."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from wnc_store.errors import StoreClosedError, StoreError, StoreTimeoutError

T = TypeVar("T")


class WorkerThread:
    """One thread that runs blocking functions one after another, for a driver that must not block the event loop.

    The thread starts with the first call, which binds it to the running event loop. Other event loops and forked
    processes are refused. If a caller is cancelled, its function does not run, or runs to its end without the caller.

    Args:
        name: Name of the thread, and of what it works on in errors.
        timeout: Time after which a function that has not begun raises `StoreTimeoutError`. A function that has begun
            must limit how long it runs, to `remaining()`.
    """

    def __init__(self, name: str, timeout: timedelta) -> None:
        self._name = name
        self._seconds = timeout.total_seconds()
        self._executor: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._is_closed = False
        self._deadline = 0.0  # of the running function

    def remaining(self) -> timedelta:
        """Return the time until the deadline of the running function, or zero. Call this in the thread."""
        return timedelta(seconds=max(0.0, self._deadline - time.monotonic()))

    def check_close(self) -> None:
        """Check that the thread can be closed here.

        Raises:
            StoreError: The thread belongs to another event loop of this process.
        """
        if self._executor is not None and self._process == os.getpid() and self._loop is not asyncio.get_running_loop():
            message = "the store was used in another event loop; open a store in each event loop"
            raise StoreError(message)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in the thread and return its result.

        Raises:
            StoreClosedError: The thread was closed before the function began.
            StoreTimeoutError: Other functions ran for longer than the timeout. The function did not run.
            StoreError: The thread belongs to another event loop, or was used before a fork.
        """
        if self._executor is not None and self._process != os.getpid():
            message = "the store was used before this process was forked; open a store in each process"
            raise StoreError(message)
        self.check_close()
        if self._is_closed:
            raise StoreClosedError
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, self._name)
            self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        queued = self._executor.submit(self._unless_closed, function, time.monotonic() + self._seconds)
        result = asyncio.wrap_future(queued)
        result.add_done_callback(_retrieve)
        try:
            await asyncio.wait((result,), timeout=self._seconds)
            if not result.done() and queued.cancel():
                message = f"other operations used {self._name} for longer than operation_timeout ({self._seconds:g} s)"
                raise StoreTimeoutError(message)
            return await result
        finally:
            result.cancel()  # without effect unless the caller was cancelled

    async def aclose(self, release: Callable[[], object]) -> None:
        """Refuse new functions, wait for the running one, call `release` in the thread and end the thread.

        Functions that have not begun raise `StoreClosedError`. If the thread was never used, `release` is not called.
        Concurrent calls of this method each call `release`.
        """
        self._is_closed = True
        executor = self._executor
        if executor is not None and self._process == os.getpid():  # a forked process does not have the thread
            await asyncio.wrap_future(executor.submit(release))
            executor.shutdown()
        self._executor = None

    def _unless_closed(self, function: Callable[[], T], deadline: float) -> T:
        if self._is_closed:
            raise StoreClosedError
        self._deadline = deadline
        return function()


def _retrieve(result: asyncio.Future[T]) -> None:
    """Retrieve the error of a function whose caller was cancelled, so that asyncio does not log it."""
    if not result.cancelled():
        result.exception()
