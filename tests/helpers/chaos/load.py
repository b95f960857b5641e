"""Callers at work in this process while something is done to their server, and the verdict on what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.checker import Report, check
from chaos.server import DurableServer, admin, quiet
from chaos.worker import SETTINGS, Worker
from wnc_store import open_store

Fault = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Judged:
    """What callers went through.

    Attributes:
        report: what the checker found.
        errors: what callers were told that no fault of server or network should give.
    """

    report: Report
    errors: list[str]

    @property
    def problems(self) -> list[str]:
        """All that must not be."""
        return self.report.problems + self.errors


async def load(server: DurableServer, fault: Fault, *, url: str, seconds: float = 1, every: float = 0.05) -> Judged:
    """Let callers work for so long while a fault is injected again and again; then judge what they were told.

    Args:
        server: where the truth is.
        fault: what happens again and again.
        url: where the callers' store connects.
        seconds: how long they work.
        every: seconds between faults.
    """
    async with open_store(url, settings=SETTINGS) as store:
        worker = Worker(store, "w", seed=1)
        work = asyncio.ensure_future(worker.work(seconds))
        while not work.done():  # not a task to be cancelled: redis-py may swallow a cancellation when it closes
            await asyncio.wait([work], timeout=every)
            await fault()
        await work
        await store.ping()
    async with admin(server.url) as client:
        await quiet(client)
    return Judged(check(worker.history, server.ledger()), worker.errors)
