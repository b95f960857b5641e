"""Callers at work in this process while something breaks at random, and the verdict on what they were told."""

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
    """What callers went through.

    Attributes:
        report: what the checker found.
        errors: what callers were told that no fault of server or network should give.
        faults: how often something was broken.
    """

    report: Report
    errors: list[str]
    faults: int

    @property
    def problems(self) -> list[str]:
        """All that must not be."""
        return self.report.problems + self.errors


async def load(  # noqa: PLR0913 - what varies
    server: DurableServer, fault: Fault, *, url: str, seed: int = 1, operations: int = 1000, every: int = 20
) -> Judged:
    """Let callers work while a fault is injected again and again; then judge what they were told.

    Args:
        server: where the truth is.
        fault: what happens again and again.
        url: where the callers' store connects.
        seed: chooses the calls.
        operations: how many calls there are.
        every: how many calls there are between faults.
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
    """Let the server close all connections."""

    async def kill() -> None:
        async with admin(server.url) as client:
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    return await load(server, kill, url=server.url, seed=seed)


async def _killed_server(server: DurableServer, seed: int) -> Judged:
    """Kill the server, as `kill -9` does, and start it again."""

    async def kill() -> None:
        server.kill()
        await asyncio.to_thread(server.start)

    return await load(server, kill, url=server.url, seed=seed, operations=600, every=150)


async def _forgotten_scripts(server: DurableServer, seed: int) -> Judged:
    """Let the server forget its scripts."""

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
    """Run a scenario on a server of its own."""
    with durable_server() as server:
        return await SCENARIOS[scenario](server, seed)
