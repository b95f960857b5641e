"""Background tasks and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class BackgroundTasks:
    """Tasks that outlive the call that starts them.

    Tasks of another event loop are never waited for: in a forked child, they belong to the parent process.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Start a task, and keep it from being garbage-collected until it ends. Its error is never logged."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def drain(self) -> None:
        """Wait until all tasks have ended."""
        while running := self._running():
            await asyncio.wait(running)

    async def aclose(self) -> None:
        """Cancel the tasks, and return when they have ended."""
        for task in self._running():
            task.cancel()
        await self.drain()

    def _running(self) -> set[asyncio.Task[Any]]:
        loop = asyncio.get_running_loop()
        return {task for task in self._tasks if task.get_loop() is loop}

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: if the caller was cancelled, nobody else does
