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

    async def do(self, task: object, seconds: float) -> Any:
        """Send a task and return its result.

        Raises:
            TimeoutError: the task took longer than `seconds`.
            StoreError: the process failed.
        """
        stdin = cast("asyncio.StreamWriter", self._process.stdin)
        stdin.write(f"{json.dumps(task)}\n".encode())
        async with asyncio.timeout(seconds):
            await stdin.drain()
            line = await cast("asyncio.StreamReader", self._process.stdout).readline()
        if not line:
            message = "a benchmark process exited during its work; stderr contains the reason"
            raise StoreError(message)
        return json.loads(line)


@asynccontextmanager
async def started(command: Sequence[str], options: object) -> AsyncGenerator[Worker]:
    """Start a process, send it its options, wait until it is ready, and end it at the exit of the context."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,  # the options go through stdin, because arguments would show a URL's password
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # bytes in a line
    )
    try:
        worker = Worker(process)
        await worker.do(options, _READY_SECONDS)
        yield worker
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # safe, because the process does not have to save anything
        await process.wait()


def worker(job: str, **options: object) -> AbstractAsyncContextManager[Worker]:
    """Start a Python process for a job of `worker.JOBS`, and end it at the exit of the context."""
    return started([sys.executable, "-m", "wnc_store_bench.worker"], {"job": job, **options})
