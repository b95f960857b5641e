"""Tests of background tasks."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from virtual_time import idle
from wnc_store_redis.transport.tasks import BackgroundTasks


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again() -> None:
    """aclose() returns although a task swallows the first cancellations."""
    tasks = BackgroundTasks()

    async def swallow() -> None:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    task = tasks.spawn(swallow())
    await idle()
    await tasks.aclose()
    assert task.done()


async def test_draining_waits_for_tasks_without_cancelling_them() -> None:
    """drain() returns when the last task has ended by itself, including one that another task has started."""
    tasks = BackgroundTasks()
    ended: list[str] = []

    async def work(name: str, *later: str) -> None:
        await asyncio.sleep(1)
        ended.append(name)
        for other in later:
            tasks.spawn(work(other))

    tasks.spawn(work("first", "second"))
    await tasks.drain()
    assert ended == ["first", "second"]


def test_tasks_of_another_event_loop_are_left_alone() -> None:
    """drain() and aclose() neither cancel nor wait for tasks of another event loop, as in a forked child."""
    tasks = BackgroundTasks()

    async def start() -> asyncio.Task[bool]:
        return tasks.spawn(asyncio.Event().wait())

    async def close() -> None:
        await tasks.drain()
        await tasks.aclose()

    with asyncio.Runner() as parent, asyncio.Runner() as child:
        task = parent.run(start())
        child.run(close())
        assert not task.cancelling()
        parent.run(tasks.aclose())
