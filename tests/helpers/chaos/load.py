"""A load of callers in this process during random cuts of their connections, and the check of their results."""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos.checker import Report, check
from chaos.server import admin, durable_server, quiet
from chaos.worker import KEYS
from proxy import SIDES, Cut, proxy_to
from wnc_store import open_store
from wnc_store_contract.faults.worker import SETTINGS, Worker

_OPERATIONS = 1000
_BETWEEN_CUTS = 20
"""Number of calls."""


@dataclass(frozen=True)
class Judged:
    """The result of a load.

    Attributes:
        report: the report of the checker.
        errors: errors that no fault of the network should cause.
        faults: number of cuts, besides those of the proxy itself.
    """

    report: Report
    errors: list[str]
    faults: int

    @property
    def problems(self) -> list[str]:
        """All violations."""
        return self.report.problems + self.errors


async def under_cuts(seed: int) -> Judged:
    """Run callers on a new server while connections are cut at random bytes, and check their results."""
    chance, faults = random.Random(seed), 0  # noqa: S311 - repeatable
    with durable_server() as server:
        async with proxy_to(server.port) as proxy, open_store(proxy.url, settings=SETTINGS) as store:
            proxy.cut_at_random(mean_bytes=20_000, seed=seed)

            async def cut() -> None:
                nonlocal faults
                faults += 1
                proxy.arm(Cut(chance.choice(SIDES), chance.randrange(2000), "reset"))

            worker = Worker([store], "w", seed, KEYS)
            await worker.work(_OPERATIONS, cut, _BETWEEN_CUTS)
        async with admin(server.url) as client:
            await quiet(client)
        return Judged(check(worker.history, server.ledger()), worker.errors, faults)
