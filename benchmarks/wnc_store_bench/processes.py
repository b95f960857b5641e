"""Worker processes, which exchange tasks and results as JSON lines. `worker` is the other side."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

from wnc_store import StoreError

_READY_SECONDS = 300


class Worker:
    """A process that sends null when it is ready, and then a result for each task."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._is_ready = False

    async def ready(self) -> None:
        """Wait until the process is ready.

        Raises:
            TimeoutError: the process took too long.
            StoreError: the process failed.
        """
        if not self._is_ready:
            async with asyncio.timeout(_READY_SECONDS):
                await self._receive()
            self._is_ready = True

    async def do(self, task: object, seconds: float) -> Any:
        """Send a task when the process is ready, and return its result.

        Raises:
            TimeoutError: the task took longer than `seconds`.
            StoreError: the process failed.
        """
        await self.ready()
        async with asyncio.timeout(seconds):
            await self.send(task)
            return await self._receive()

    async def send(self, value: object) -> None:
        """Send a value as a line."""
        stdin = cast("asyncio.StreamWriter", self._process.stdin)
        stdin.write(f"{json.dumps(value)}\n".encode())
        await stdin.drain()

    async def _receive(self) -> Any:
        line = await cast("asyncio.StreamReader", self._process.stdout).readline()
        if not line:
            message = "a benchmark process exited during its work; stderr contains the reason"
            raise StoreError(message)
        return json.loads(line)


@asynccontextmanager
async def started(command: Sequence[str], options: object) -> AsyncGenerator[Worker]:
    """Start a process, send it its options, and end it at the exit of the context."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,  # the options go through stdin, because arguments would show a URL's password
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # bytes in a line
    )
    try:
        worker = Worker(process)
        await worker.send(options)
        yield worker
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # the process has no state to save
        await process.wait()


def worker(job: str, **options: object) -> AbstractAsyncContextManager[Worker]:
    """Start a Python process for a job of `worker.JOBS`, and end it at the exit of the context."""
    return started([sys.executable, "-m", "wnc_store_bench.worker"], {"job": job, **options})
