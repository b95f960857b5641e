"""Processes at work on one server while connections and server are broken, and the verdict on what they were told.

Run as `python -m chaos.soak --seconds 120`; it prints a summary and ends with 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos.checker import Report, check
from chaos.history import Operation, read_history
from chaos.injector import Injector
from chaos.ledger import Ledger
from chaos.server import DurableServer, admin, durable_server, quiet
from chaos.worker import ROOMS
from proxy import Proxy, proxy_to

_BUSY_AFTER = ("--busy-reply-threshold", "20")
_PATIENCE = 20
"""Seconds that a process may take to start and to end beyond its work."""


@dataclass(frozen=True)
class Soak:
    """What a run brought.

    Attributes:
        seed: repeats the choice of faults and operations, though not their timing.
        report: what the checker found; its problems include those that the processes met.
        injected: how often which fault was injected.
        recoveries: seconds from each return of a killed server to the first answer in each process.
    """

    seed: int
    seconds: float
    processes: int
    report: Report
    injected: Counter[str]
    recoveries: list[float]

    def __str__(self) -> str:
        told = self.report.operations
        lines = [
            f"{self.seconds:.0f} s, {self.processes} processes, seed {self.seed}",
            f"operations      {told.total():,}: "
            + ", ".join(f"{count:,} {name}" for name, count in told.most_common()),
            "unknown, found  " + (", ".join(f"{n:,} {name}" for name, n in self.report.resolved.items()) or "none"),
            "faults          " + ", ".join(f"{count} {name}" for name, count in self.injected.most_common()),
        ]
        if self.recoveries:
            middle = sorted(self.recoveries)[len(self.recoveries) // 2]
            lines.append(f"recovery        {middle * 1000:.0f} ms median, {max(self.recoveries) * 1000:.0f} ms at most")
        lines.append(f"search          {self.report.steps:,} steps")
        lines += [f"BROKEN          {problem}" for problem in self.report.problems]
        lines.append("verdict         " + ("promises broken" if self.report.problems else "every promise kept"))
        return "\n".join(lines)


async def soak(seconds: float, *, processes: int = 2, seed: int = 1) -> Soak:
    """Let processes work for so long under faults, and judge what they were told."""
    with tempfile.TemporaryDirectory(prefix="wnc-soak-") as folder:
        with durable_server(*_BUSY_AFTER) as server:
            async with AsyncExitStack() as stack:
                proxies = [await stack.enter_async_context(proxy_to(server.port)) for _ in range(processes)]
                injector = Injector(server, proxies, seed)
                async with _workers(proxies, seed, seconds, Path(folder)) as ended:
                    await injector.run(seconds)
                    await ended
            async with admin(server.url) as client:
                await quiet(client)
                ledger = server.ledger()
                lost = [problem async for problem in _differences(server, ledger)]
        names = [f"{folder}/p{number}" for number in range(processes)]
        histories = [read_history(Path(f"{name}.history")) for name in names]
        errors = [line for name in names for line in _lines(f"{name}.errors")]
    report = check([operation for history in histories for operation in history], ledger)
    report.problems += [f"a caller was told: {error}" for error in errors] + lost
    return Soak(seed, seconds, processes, report, injector.injected, _recoveries(injector.returns, histories))


@asynccontextmanager
async def _workers(
    proxies: Sequence[Proxy], seed: int, seconds: float, folder: Path
) -> AsyncGenerator[asyncio.Future[list[None]]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chaos.worker", proxy.url, f"p{number}", str(seed * 100 + number)),
            *(str(seconds), str(folder)),
            env=environment,
        )
        for number, proxy in enumerate(proxies)
    ]

    async def end(process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(seconds + _PATIENCE):
            if await process.wait():
                message = f"a process ended with {process.returncode}"
                raise RuntimeError(message)

    try:
        yield asyncio.gather(*map(end, running))
    finally:
        for process in running:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _differences(server: DurableServer, ledger: Ledger) -> AsyncGenerator[str]:
    """Yield each room that the server holds otherwise than its file says."""
    async with admin(server.url) as client:
        for room in ROOMS:
            stored = await client.get(f"room:{room}")
            last = (ledger.rooms.get(room) or [None])[-1]
            if (stored and json.loads(stored)) != last:
                yield f"room {room} is not what was written last"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _recoveries(returns: Sequence[int], histories: Sequence[Sequence[Operation]]) -> list[float]:
    found: list[float] = []
    for history in histories:
        for moment in returns:
            ends = [one.end for one in history if one.answer in {"ok", "not found", "exists"} and one.start > moment]
            if ends:
                found.append((min(ends) - moment) / 1e9)
    return found


def main() -> None:
    """Run, print the summary, and end with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    done = asyncio.run(soak(options.seconds, processes=options.processes, seed=options.seed))
    print(done)  # noqa: T201 - that is what it is for
    sys.exit(1 if done.report.problems else 0)


if __name__ == "__main__":
    main()
