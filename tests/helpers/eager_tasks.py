"""Tasks that run their first step at once, as those of `asyncio.eager_task_factory` of Python 3.12."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


def use_eager_tasks() -> None:
    """Make the running event loop start tasks eagerly."""
    factory: Any = getattr(asyncio, "eager_task_factory", _start_eagerly)
    asyncio.get_running_loop().set_task_factory(factory)


def _start_eagerly(
    loop: asyncio.AbstractEventLoop, started: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """Run the first step of a coroutine in a new task, which continues in the next tick."""
    first = _Step()
    task: asyncio.Task[Any] = asyncio.Task(_continue(started, first), loop=loop, **options)
    tasks: Any = asyncio.tasks
    parent = asyncio.current_task(loop)
    if parent is not None:
        tasks._leave_task(loop, parent)
    tasks._enter_task(loop, task)
    try:
        first.run(started.send, None)
    finally:
        tasks._leave_task(loop, task)
        if parent is not None:
            tasks._enter_task(loop, parent)
    return task


class _Step:
    """The result of one step of a coroutine: the awaited object, the return value or the exception."""

    def __init__(self) -> None:
        self.awaited: Any = None
        self.end: BaseException | None = None

    def run(self, step: Callable[[Any], Any], argument: Any) -> None:
        try:
            self.awaited = step(argument)
        except BaseException as error:  # noqa: BLE001 - the task raises it, or returns the value of a StopIteration
            self.end = error


async def _continue(started: Coroutine[Any, Any, Any], step: _Step) -> Any:
    await _run_steps(started, step)
    if isinstance(step.end, StopIteration):
        return step.end.value
    assert step.end is not None
    raise step.end


@coroutine
def _run_steps(started: Coroutine[Any, Any, Any], step: _Step) -> Generator[Any, Any, None]:
    while step.end is None:
        try:
            sent = yield step.awaited
        except BaseException as error:  # noqa: BLE001 - such as the cancellation of the task
            step.run(started.throw, error)
        else:
            step.run(started.send, sent)
