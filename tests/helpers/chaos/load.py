"""A load of callers in this process during random faults, and the check of their results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from chaos.checker import Report, check
from chaos.server import DurableServer, admin, durable_server, quiet
from chaos.worker import SETTINGS, Fault, Worker
from proxy import Cut, Side, proxy_to
from wnc_store import open_store

_SIDES: Sequence[Side] = ("request", "reply")


@dataclass(frozen=True)
class Judged:
    """The result of a load.

    Attributes:
        report: the report of the checker.
        errors: errors that no fault of the server or network should cause.
        faults: number of injected faults.
    """

    report: Report
    errors: list[str]
    faults: int

    @property
    def problems(self) -> list[str]:
        """All violations."""
        return self.report.problems + self.errors


async def load(  # noqa: PLR0913 - the parameters of a load
    server: DurableServer, fault: Fault, *, url: str, seed: int = 1, operations: int = 1000, every: int = 20
) -> Judged:
    """Run callers while a fault is injected repeatedly, and check their results.

    Args:
        server: the server, whose ledger is the reference.
        fault: the fault.
        url: the URL of the callers' store.
        seed: chooses the calls.
        operations: number of calls.
        every: number of calls between two faults.
    """
    faults = 0

    async def counted() -> None:
        nonlocal faults
        faults += 1
        await fault()

    async with open_store(url, settings=SETTINGS) as store:
        worker = Worker(store, "w", seed)
        await worker.work(operations, counted, every)
    async with admin(server.url) as client:
        await quiet(client)
    return Judged(check(worker.history, server.ledger()), worker.errors, faults)


async def _random_cuts(server: DurableServer, seed: int) -> Judged:
    """Cut connections at random bytes."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    async with proxy_to(server.port) as proxy:
        proxy.cut_at_random(mean_bytes=20_000, seed=seed)

        async def cut() -> None:
            proxy.arm(Cut(chance.choice(_SIDES), chance.randrange(2000), "reset"))

        return await load(server, cut, url=proxy.url, seed=seed)


async def _killed_clients(server: DurableServer, seed: int) -> Judged:
    """Make the server close all connections."""

    async def kill() -> None:
        async with admin(server.url) as client:
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    return await load(server, kill, url=server.url, seed=seed)


async def _killed_server(server: DurableServer, seed: int) -> Judged:
    """Kill the server with SIGKILL, and start it again."""

    async def kill() -> None:
        server.kill()
        await asyncio.to_thread(server.start)

    return await load(server, kill, url=server.url, seed=seed, operations=600, every=150)


async def _forgotten_scripts(server: DurableServer, seed: int) -> Judged:
    """Make the server forget its scripts."""

    async def flush() -> None:
        async with admin(server.url) as client:
            await client.script_flush()

    return await load(server, flush, url=server.url, seed=seed, operations=600)


SCENARIOS: Mapping[str, Callable[[DurableServer, int], Awaitable[Judged]]] = {
    "random cuts": _random_cuts,
    "killed clients": _killed_clients,
    "killed server": _killed_server,
    "forgotten scripts": _forgotten_scripts,
}


async def under_load(scenario: str, seed: int) -> Judged:
    """Run a scenario on a new server."""
    with durable_server() as server:
        return await SCENARIOS[scenario](server, seed)
