"""Tests of the thread for drivers that block."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest

from wnc_store import StoreClosedError, StoreError, StoreTimeoutError
from wnc_store.base import WorkerThread, worker_thread

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def worker() -> AsyncIterator[WorkerThread]:
    """A thread that is ended after the test."""
    worker = WorkerThread("driver", MINUTE)
    yield worker
    await worker.aclose(lambda: None)


class Blocker:
    """A function that runs until the test releases it."""

    def __init__(self) -> None:
        self._is_running, self._may_end = threading.Event(), threading.Event()

    def __call__(self) -> str:
        """Return when the test has released the function."""
        self._is_running.set()
        assert self._may_end.wait(60)
        return "done"

    async def wait_until_running(self) -> None:
        """Return when the function runs."""
        assert await asyncio.to_thread(self._is_running.wait, 60)

    def release(self) -> None:
        """Let the function end."""
        self._may_end.set()


@pytest.fixture
def blocker() -> Iterator[Blocker]:
    """A function that is released after the test at the latest."""
    blocker = Blocker()
    yield blocker
    blocker.release()


async def test_functions_run_one_after_another_in_one_thread(worker: WorkerThread) -> None:
    """Concurrent functions run in the same other thread, in the order of the calls, and their results are returned."""
    order: list[int] = []

    def call(number: int) -> str:
        order.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(worker.run(lambda number=number: call(number)) for number in range(20)))
    assert order == [*range(20)]
    assert {*names} == {"driver_0"}


async def test_an_error_is_raised_in_the_caller(worker: WorkerThread) -> None:
    """A function that raises does not end the thread."""
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: 1) == 1


async def test_a_cancelled_function_that_has_not_begun_does_not_run(worker: WorkerThread, blocker: Blocker) -> None:
    """If the caller is cancelled while other functions run, its function never runs."""
    calls: list[str] = []
    running = asyncio.ensure_future(worker.run(blocker))
    await blocker.wait_until_running()
    waiting = asyncio.ensure_future(worker.run(lambda: calls.append("waiting")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    blocker.release()
    assert await running == "done"
    await worker.run(lambda: calls.append("later"))
    assert waiting.cancelled()
    assert calls == ["later"]


async def test_a_cancelled_function_that_runs_ends_without_its_caller(worker: WorkerThread, blocker: Blocker) -> None:
    """If the caller of a running function is cancelled, it ends at once; the function's error is not logged."""
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))

    def fail() -> None:
        blocker()
        raise LookupError

    call = asyncio.ensure_future(worker.run(fail))
    await blocker.wait_until_running()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    blocker.release()
    assert await worker.run(lambda: 1) == 1
    gc.collect()
    assert unhandled == []


async def test_a_function_that_waits_too_long_does_not_run(blocker: Blocker) -> None:
    """A function that has not begun within the timeout raises StoreTimeoutError and never runs."""
    worker, calls = WorkerThread("driver", timedelta(milliseconds=1)), list[str]()
    running = asyncio.ensure_future(worker.run(blocker))
    await blocker.wait_until_running()
    with pytest.raises(StoreTimeoutError, match="driver"):
        await worker.run(lambda: calls.append("late"))
    blocker.release()
    assert await running == "done"
    await worker.aclose(lambda: None)
    assert calls == []


async def test_closing_waits_for_the_running_function(worker: WorkerThread, blocker: Blocker) -> None:
    """A close lets the running function end and rejects the others, then releases the driver and ends the thread."""
    released: list[str] = []
    running = asyncio.ensure_future(worker.run(blocker))
    await blocker.wait_until_running()
    waiting = asyncio.ensure_future(worker.run(lambda: 1))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(worker.aclose(lambda: released.append(threading.current_thread().name)))
    await asyncio.sleep(0)
    assert not closing.done()
    blocker.release()
    await closing
    assert await running == "done"
    with pytest.raises(StoreClosedError):
        await waiting
    with pytest.raises(StoreClosedError):
        await worker.run(lambda: 1)
    assert released == ["driver_0"]
    assert "driver_0" not in {thread.name for thread in threading.enumerate()}


async def test_an_unused_thread_is_not_started_by_a_close() -> None:
    """Closing a thread that was never used calls nothing."""
    await WorkerThread("driver", MINUTE).aclose(pytest.fail)


async def test_another_event_loop_is_refused(worker: WorkerThread) -> None:
    """After the first call, calls and the check of a close in another event loop raise StoreError."""
    await worker.run(lambda: None)

    async def check() -> None:
        worker.check_close()

    with ThreadPoolExecutor() as elsewhere:
        for coroutine in (worker.run(lambda: None), check()):
            with pytest.raises(StoreError, match="another event loop"):
                await asyncio.to_thread(elsewhere.submit(asyncio.run, coroutine).result)


async def test_a_forked_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a forked process, which lacks the thread, a call raises StoreError, and a close does not wait."""
    worker = WorkerThread("driver", MINUTE)
    await worker.run(lambda: None)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(StoreError, match="before this process was forked"):
        await worker.run(lambda: None)
    worker.check_close()
    await worker.aclose(pytest.fail)


async def test_concurrent_closes_all_return(worker: WorkerThread) -> None:
    """Each of several concurrent closes waits until the driver is released."""
    await worker.run(lambda: None)
    released: list[int] = []
    await asyncio.gather(*(worker.aclose(lambda number=number: released.append(number)) for number in range(3)))
    assert released == [0, 1, 2]


async def test_the_remaining_time_includes_the_time_in_the_queue(
    worker: WorkerThread, blocker: Blocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that waited for others has less time left, and `remaining` is never negative."""
    seconds = [0.0]
    monkeypatch.setattr(worker_thread, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    running = asyncio.ensure_future(worker.run(blocker))
    await blocker.wait_until_running()
    waiting = asyncio.ensure_future(worker.run(worker.remaining))
    await asyncio.sleep(0)
    seconds[0] = 20.0
    blocker.release()
    await running
    assert await waiting == timedelta(seconds=40)
    seconds[0] = 200.0
    assert worker.remaining() == timedelta(0)
