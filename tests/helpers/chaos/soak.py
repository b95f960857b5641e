"""A soak test: processes that use one server during faults, and the check of their results."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.checker import Report, check
from chaos.injector import Injector
from chaos.ledger import Ledger
from chaos.server import DurableServer, admin, durable_server, quiet
from chaos.worker import ROOMS
from proxy import Proxy, proxy_to

_BUSY_AFTER = ("--busy-reply-threshold", "20")


@dataclass(frozen=True)
class Soak:
    """The result of a run.

    Attributes:
        report: the report of the checker, including the errors in the processes.
        injected: number of faults of each kind.
    """

    report: Report
    injected: Counter[str]


async def soak(faults: int, *, seed: int, processes: int = 2) -> Soak:
    """Run processes while a number of faults is injected, and check their results.

    The seed chooses the faults and operations. Their timing differs in each run.
    """
    with tempfile.TemporaryDirectory(prefix="wnc-soak-") as folder:
        with durable_server(*_BUSY_AFTER) as server:
            async with AsyncExitStack() as stack:
                proxies = [await stack.enter_async_context(proxy_to(server.port)) for _ in range(processes)]
                injector = Injector(server, proxies, seed)
                async with _workers(proxies, seed, Path(folder)) as end:
                    await injector.run(faults)
                    await end()
            async with admin(server.url) as client:
                await quiet(client)
                ledger = server.ledger()
                lost = [problem async for problem in _differences(server, ledger)]
        files = [Path(folder) / f"p{number}" for number in range(processes)]
        results = [pickle.loads(file.read_bytes()) for file in files]  # noqa: S301 - written by our processes
    report = check([one for history, _ in results for one in history], ledger)
    errors = [error for _, some in results for error in some]
    report.problems += [f"a caller received an unexpected error: {error}" for error in errors] + lost
    return Soak(report, injector.injected)


@asynccontextmanager
async def _workers(
    proxies: Sequence[Proxy], seed: int, folder: Path
) -> AsyncGenerator[Callable[[], Coroutine[Any, Any, None]]]:
    """Run one process for each proxy, and yield a function that ends the processes and waits for them."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chaos.worker", proxy.url, f"p{number}", str(seed * 100 + number), str(folder)),
            stdin=asyncio.subprocess.PIPE,
            env=environment,
        )
        for number, proxy in enumerate(proxies)
    ]

    async def end() -> None:
        for process in running:
            assert process.stdin is not None
            process.stdin.close()
        ended = [await process.wait() for process in running]
        assert not any(ended), f"the processes exited with {ended}"

    try:
        yield end
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _differences(server: DurableServer, ledger: Ledger) -> AsyncGenerator[str]:
    """Yield each room whose stored value differs from the ledger."""
    async with admin(server.url) as client:
        for room in ROOMS:
            stored = await client.get(f"room:{room}")
            last = (ledger.rooms.get(room) or [None])[-1]
            if (stored and json.loads(stored)) != last:
                yield f"room {room} differs from the last write"
