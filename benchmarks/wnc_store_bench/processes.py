"""Work in processes of its own: see `worker` for the other side."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from wnc_store import StoreError

_PREPARES_SECONDS = 300


class Worker:
    """A process that prepares its work and waits for the word."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ready(self) -> None:
        """Wait until it has prepared its work.

        Raises:
            TimeoutError: it took too long.
            StoreError: it failed.
        """
        async with asyncio.timeout(_PREPARES_SECONDS):
            await self._receive()

    async def run(self, seconds: float) -> Any:
        """Let it do its work, and return the result.

        Raises:
            TimeoutError: it took longer than that.
            StoreError: it failed.
        """
        async with asyncio.timeout(seconds):
            await self.send("go")
            return await self._receive()

    async def send(self, line: str) -> None:
        """Send a line."""
        stdin = cast("asyncio.StreamWriter", self._process.stdin)
        stdin.write(f"{line}\n".encode())
        await stdin.drain()

    async def _receive(self) -> Any:
        line = await cast("asyncio.StreamReader", self._process.stdout).readline()
        if not line:
            message = "a process of the benchmark has ended before its work; it has said why on stderr"
            raise StoreError(message)
        return json.loads(line)


@asynccontextmanager
async def worker(job: str, **options: object) -> AsyncGenerator[Worker]:
    """Start a process for a job of `worker.JOBS`, and end it in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "wnc_store_bench.worker",
        stdin=asyncio.subprocess.PIPE,  # options come this way: an argument would show a URL's password
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,  # bytes of a line
    )
    try:
        started = Worker(process)
        await started.send(json.dumps({"job": job, **options}))
        yield started
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
