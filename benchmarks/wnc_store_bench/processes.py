"""Work in processes of its own, which answer tasks: a JSON line each. See `worker` for the other side."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, cast

from wnc_store import StoreError

_PREPARES_SECONDS = 300


class Worker:
    """A process that prepares its work, says so with null, and then answers each task."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._is_ready = False

    async def ready(self) -> None:
        """Wait until it has prepared its work.

        Raises:
            TimeoutError: it took too long.
            StoreError: it failed.
        """
        if not self._is_ready:
            async with asyncio.timeout(_PREPARES_SECONDS):
                await self._receive()
            self._is_ready = True

    async def do(self, task: object, seconds: float) -> Any:
        """Let it do a task as soon as it is ready, and return its answer.

        Raises:
            TimeoutError: it took longer than that.
            StoreError: it failed.
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
            message = "a process of the benchmark has ended in the middle of its work; it has said why on stderr"
            raise StoreError(message)
        return json.loads(line)


@asynccontextmanager
async def started(command: Sequence[str], options: object) -> AsyncGenerator[Worker]:
    """Start a process, tell it its options, and end it in the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,  # options come this way: an argument would show a URL's password
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # bytes of a line
    )
    try:
        worker = Worker(process)
        await worker.send(options)
        yield worker
    finally:
        with suppress(ProcessLookupError):
            process.kill()  # it holds nothing but connections
        await process.wait()


def worker(job: str, **options: object) -> AbstractAsyncContextManager[Worker]:
    """Start a process of Python for a job of `worker.JOBS`, and end it in the end."""
    return started([sys.executable, "-m", "wnc_store_bench.worker"], {"job": job, **options})
