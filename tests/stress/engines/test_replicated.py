"""Retries of replicated writes: a write succeeds only when a replica has it, on every version of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from chaos.outcomes import outcome_of
from chaos.writes import WRITES
from packaged_servers import redis_8
from proxy import Cut, proxy_to
from redis_server import RedisServer, running, wait_for_reply
from waiting import wait_until
from wnc_store import StoreSettings, open_store

REPLICATED = StoreSettings(durability="replicated", operation_timeout=timedelta(seconds=1))


@pytest.fixture(params=["the one on the PATH", "Redis 8"], name="servers")
def _servers(request: pytest.FixtureRequest) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica."""
    program = redis_8() if request.param == "Redis 8" else None
    options = ("--repl-diskless-sync-delay", "0")
    master = RedisServer(*options, program=program)
    replica = RedisServer(*options, "--replicaof", f"127.0.0.1 {master.port}", program=program)
    with running(master, replica):
        wait_for_reply("master_link_status:up", replica, to=("INFO", "replication"))
        yield master, replica


@pytest.mark.parametrize("name", ["create", "join", "last leave", "message", "acquire"])
async def test_a_retry_waits_for_the_first_attempt(servers: tuple[RedisServer, RedisServer], name: str) -> None:
    """A write whose reply was lost and that a retry finds applied succeeds only when the replica has it."""
    master, replica = servers
    write = next(one for one in WRITES if one.name == name)
    async with open_store(master.url) as direct, proxy_to(master.port) as proxy:
        for room_id in ("A", "B"):
            if write.prepare:
                await write.prepare(direct, room_id)
        await write.call(direct, "B")  # loads the script
        async with (
            open_store(proxy.url, settings=REPLICATED) as store,
            open_store(master.url, settings=StoreSettings(durability="replicated")) as patient,
        ):
            await patient.connections.acquire("other", "c1")
            await outcome_of(
                store.connections.acquire("other", "c1")
            )  # connects; a timeout of a slow machine is ignored
            await write.read(store, "A")
            replica.pause()
            proxy.arm(Cut("reply", 0, "reset"))
            call = asyncio.ensure_future(outcome_of(write.call(store, "A")))
            await wait_until(lambda: not proxy.cut_pending)
            assert (await call).kind == "unknown"
            replica.resume()
            await patient.connections.acquire("other", "c1")
