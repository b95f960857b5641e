"""Connections that are cut after byte N of a write's exchange, and checks of the reported outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chaos.outcomes import Outcome, comparable, outcome_in_time, outcome_of, untruth
from chaos.server import PATIENT, DurableServer, admin, quiet
from chaos.writes import Write
from proxy import HOWS, SIDES, Cut, Side, proxy_to
from wnc_store import StoreSettings
from wnc_store_redis import RedisStore

_AT_ONCE = 16
_HURRIED = PATIENT.model_copy(update={"operation_timeout": timedelta(seconds=1)})
"""For a network that stays down. Calls that must succeed afterwards are retried after a timeout."""


@dataclass(frozen=True)
class _Case:
    """One cut of one write."""

    name: str
    cut: Cut


async def untruths(
    server: DurableServer, write: Write, *, warm: bool, stride: int, stay_down: bool = False
) -> list[str]:
    """Cut a write's exchange after each `stride`-th byte, and return the reported outcomes that are false.

    Args:
        server: the server, whose ledger is the reference.
        write: the kind of write.
        warm: whether the connection has been used for that room before.
        stride: bytes between two cuts. The edges of an exchange are always included.
        stay_down: whether the network stays down after the cut until the write has ended.
    """
    sizes, expected = await _measure(server, write, warm=warm)
    cuts = [
        Cut(side, after, HOWS[number % 2], stay_down=stay_down)
        for side in SIDES
        for number, after in enumerate(_positions(sizes[side], stride))
    ]
    return await _try_all(server, write, cuts, expected, _HURRIED if stay_down else PATIENT, warm=warm)


def _positions(size: int, stride: int) -> list[int]:
    """Return the positions of the cuts: each `stride`-th byte and the edges, where most failures occur."""
    edges = {0, 1, size - 1, size, size + 1}
    return sorted(edges | set(range(0, size + 1, stride)))


async def _measure(server: DurableServer, write: Write, *, warm: bool) -> tuple[dict[Side, int], Any]:
    """Return the number of bytes in each direction of an exchange, and the write's result without a fault."""
    name = f"{write.name.replace(' ', '-')}.{warm:d}.0000"
    async with (
        RedisStore.from_url(server.url) as direct,
        proxy_to(server.port) as proxy,
        RedisStore.from_url(proxy.url) as store,
        admin(server.url) as client,
    ):
        await client.flushall()
        if write.prepare:
            await write.prepare(direct, name)
        if warm:
            await write.read(store, name)
        proxy.reset_counters()
        value = comparable(await write.call(store, name))
        sizes = dict(proxy.passed)
    return sizes, value


async def _try_all(  # noqa: PLR0913 - the parameters of a case
    server: DurableServer, write: Write, cuts: Sequence[Cut], expected: Any, settings: StoreSettings, *, warm: bool
) -> list[str]:
    """Try each cut on a separate room, and return the false outcomes."""
    cases = [_Case(f"{write.name.replace(' ', '-')}.{warm:d}.{number:04}", cut) for number, cut in enumerate(cuts)]
    async with RedisStore.from_url(server.url) as direct, admin(server.url) as client:
        await client.flushall()
        if write.prepare:
            for case in cases:
                await write.prepare(direct, case.name)
        await direct.aclose()
        await quiet(client)
        before = server.ledger()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def attempt(case: _Case) -> tuple[Outcome, Outcome, Outcome]:
            async with gate:
                return await _attempt(server, write, case, settings, warm=warm)

        outcomes = await asyncio.gather(*map(attempt, cases))
        await quiet(client)
        after = server.ledger()
    problems: list[str] = []
    for case, (outcome, read, wrote) in zip(cases, outcomes, strict=True):
        key = f"{write.key}:{case.name}"
        steps = after.changes(key) - before.changes(key)
        found = [untruth(outcome, expected, steps, repeatable=write.repeatable)]
        found += [f"the next call raised {one.error!r}" for one in (read, wrote) if one.kind != "done"]
        problems += [f"{case}: {problem}" for problem in found if problem]
    return problems


async def _attempt(
    server: DurableServer, write: Write, case: _Case, settings: StoreSettings, *, warm: bool
) -> tuple[Outcome, Outcome, Outcome]:
    """Return the outcomes of the write and of the next read and the next write of the same store."""
    async with proxy_to(server.port) as proxy, RedisStore.from_url(proxy.url, settings) as store:
        if warm:
            await outcome_in_time(lambda: write.read(store, case.name))
        proxy.arm(case.cut)
        outcome = await outcome_of(write.call(store, case.name))
        proxy.disarm()
        if case.cut.stay_down:  # a connection attempt may have begun before the network came back
            await outcome_of(store.ping())
        read = await outcome_in_time(lambda: write.read(store, case.name))
        wrote = await outcome_in_time(lambda: store.connections.acquire(f"{case.name}.next", "c"))
    return outcome, read, wrote
