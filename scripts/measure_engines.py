"""Measurements for docs/engines.md: `.venv/bin/python scripts/measure_engines.py throughput|durability|failover`."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from acknowledged import HISTORY, Load
from redis_cluster import redis_cluster
from redis_sentinels import SERVICE, Service, sentinel_service
from wnc_store import StoreSettings, open_store
from wnc_store_contract.factories import message, room, user

SECONDS = 3
ROUNDS = 3
ROOMS = 500
Durability = Literal["acknowledged", "replicated"]


async def work(url: str, callers: int, durability: Durability) -> tuple[float, list[float]]:
    """Alternate joins and messages; return the rate per second and the sorted durations."""
    names = [f"{uuid4().hex}-{number}" for number in range(ROOMS)]
    async with open_store(url, settings=StoreSettings(durability=durability)) as store:
        for name in names:
            await store.rooms.create_room(room(name))
        durations: list[float] = []
        end = time.monotonic() + SECONDS

        async def call(number: int) -> None:
            while (start := time.monotonic()) < end:
                number += callers
                name = names[number % ROOMS]
                if number // callers % 2:
                    await store.rooms.add_user_to_room(name, user(f"u{number % 5}"))
                else:
                    await store.chat.add_message(message(number, name))
                durations.append(time.monotonic() - start)

        await asyncio.gather(*(call(number) for number in range(callers)))
        return len(durations) / SECONDS, sorted(durations)


def run(arguments: tuple[str, int, Durability]) -> tuple[float, list[float]]:
    """Run the load; called in a worker process."""
    return asyncio.run(work(*arguments))


def measure(name: str, url: str, processes: int, callers: int, durability: Durability = "acknowledged") -> None:
    """Print the medians of several rounds."""
    rates: list[float] = []
    p50s: list[float] = []
    for _ in range(ROUNDS):
        with multiprocessing.Pool(processes) as pool:
            arguments: tuple[str, int, Durability] = (url, callers, durability)
            results = pool.map(run, [arguments] * processes)
        rates.append(sum(rate for rate, _ in results))
        p50s.append(median(duration for _, durations in results for duration in durations))
    print(f"{name:26} {processes} x {callers:3} callers {median(rates):7.0f}/s  p50 {median(p50s) * 1000:5.2f} ms")


async def fail_over(service: Service, durability: Durability, *, knows_leader: bool, kills: bool) -> None:
    """Print the acknowledged writes that a failover loses, and the longest pause without an acknowledged write."""
    settings = StoreSettings(chat_history_limit=HISTORY, durability=durability)
    other_sentinel = f"redis+sentinel://127.0.0.1:{service.sentinels[1].port}/{SERVICE}/0"
    async with open_store(service.url if knows_leader else other_sentinel, settings=settings) as store:
        load = Load(store)
        load.start()
        await asyncio.sleep(2)
        old, start = service.master(), time.monotonic()
        if kills:
            await asyncio.to_thread(old.kill)
        else:
            await asyncio.to_thread(service.sentinels[0].ask, "SENTINEL", "FAILOVER", SERVICE)
        while await asyncio.to_thread(service.master) is old:  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
        switched = time.monotonic()
        await asyncio.sleep(12)  # Sentinel demotes the old master within ten seconds
        await load.stop()
    async with open_store(service.url, settings=settings) as store:
        lost = [load.acknowledged[write] for write in await load.lost(store)]
    times = sorted(load.acknowledged.values())
    gap = max((late - early for early, late in pairwise(times)), default=0.0)
    resumed = min((at for at in times if at > switched), default=float("inf"))
    window = max(lost) - min(lost) if lost else 0.0
    how = "master killed" if kills else "manual, leader known" if knows_leader else "manual, leader unknown"
    print(
        f"{how:25} {durability:12} lost {len(lost):5} of {len(load.acknowledged):6} in {window:4.2f} s; named after "
        f"{switched - start:4.2f} s, resumed {resumed - switched:5.2f} s later; longest pause "
        f"{gap:4.2f} s; errors {dict(load.errors)}"
    )


def main() -> None:
    """Run the measurement that the command line names."""
    what = sys.argv[1]
    if what == "throughput":
        for masters in (1, 2, 3):
            with redis_cluster(masters=masters, replicas=0) as cluster:
                for processes in (1, 2):
                    measure(f"{masters} masters", cluster.url, processes, 100)
    elif what == "durability":
        with sentinel_service(down_after_ms=1000) as service:
            for callers in (1, 100):
                measure("acknowledged", service.url, 1, callers)
                measure("replicated", service.url, 1, callers, "replicated")
    else:
        durabilities: tuple[Durability, ...] = ("acknowledged", "replicated")
        for kills, knows_leader in ((False, True), (False, False), (True, True)):
            for durability in durabilities:
                with sentinel_service(down_after_ms=1000) as service:
                    asyncio.run(fail_over(service, durability, knows_leader=knows_leader, kills=kills))


if __name__ == "__main__":
    main()
