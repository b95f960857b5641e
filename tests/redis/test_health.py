"""Tests of the health of a store on Redis, and of its limiters while the server is down."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from chaos.server import admin
from loop_clock import advance_loop
from proxy import proxy_to
from redis_server import RedisServer, free_port
from redis_server import redis_server as start_server
from wnc_store import (
    HealthCheck,
    HealthReport,
    LimitExceededError,
    StoreClosedError,
    StoreSettings,
    StoreUnavailableError,
)
from wnc_store.health import Status
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore


async def read_health(url: str, *configuration: str, **settings: Any) -> HealthReport:
    """Return the health of a store on a server whose configuration is changed during the call."""
    async with admin(url) as client, RedisStore.from_url(url, StoreSettings(**settings)) as store:
        if not configuration:
            return await store.health()
        name, value = configuration
        before = (await client.config_get(name))[name]
        await client.config_set(name, value)
        try:
            return await store.health()
        finally:
            await client.config_set(name, before)


def status(health: HealthReport, name: str) -> str:
    """Return the status of a check."""
    (matching,) = [check for check in health.checks if check.name == name]
    return matching.status


async def test_a_healthy_server_is_reported(redis_server: RedisServer) -> None:
    """The report contains the server and the round trip; scripts, eviction and replication are ok."""
    health = await read_health(redis_server.url)
    assert health.ok
    assert health.server is not None
    assert health.server.name == "Redis"
    assert health.round_trip_ms is not None
    assert [status(health, name) for name in ("ping", "scripts", "eviction", "replication")] == ["ok"] * 4


async def test_eviction_is_an_error(redis_server: RedisServer) -> None:
    """An eviction policy other than noeviction is an error, also volatile-ttl, because each room has a TTL."""
    health = await read_health(redis_server.url, "maxmemory-policy", "volatile-ttl")
    assert not health.ok
    assert status(health, "eviction") == "error"


async def test_an_append_only_file_is_ok(redis_server: RedisServer) -> None:
    """An append-only file is ok; its absence is a warning."""
    assert status(await read_health(redis_server.url), "persistence") == "warning"
    assert status(await read_health(redis_server.url, "appendonly", "yes"), "persistence") == "ok"


async def test_a_replica_is_an_error(redis_server: RedisServer) -> None:
    """A replica is an error, because it rejects writes."""
    with start_server("--replicaof", "127.0.0.1", str(redis_server.port)) as replica:
        health = await read_health(replica.url)
    assert not health.ok
    assert status(health, "replication") == "error"


async def test_a_failed_inspection_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a backend's inspection of its server fails, the set-up is reported as unknown, and the store as not ok."""

    async def fail(_store: MemoryStore) -> None:
        raise StoreUnavailableError("the connection was lost")

    monkeypatch.setattr(MemoryStore, "_inspect", fail)
    health = await MemoryStore().health()
    assert not health.ok
    assert status(health, "set-up") == "unknown"


@pytest.mark.parametrize(("status", "ok"), [("ok", True), ("warning", True), ("unknown", False), ("error", False)])
def test_ok_is_every_check(status: Status, ok: bool) -> None:
    """A report is ok if every check is ok or a warning. An error or an unknown check makes it not ok."""
    checks = HealthCheck("ping", "ok", "replied"), HealthCheck("eviction", status, "")
    assert HealthReport("RedisStore", None, 1.0, checks).ok is ok


def test_a_report_without_a_ping_is_not_ok() -> None:
    """A report without a round trip is not ok, also if no check has found an error."""
    assert not HealthReport("RedisStore", None, None, ()).ok


async def test_an_unreachable_server_is_reported() -> None:
    """Health reports an unreachable server with host and port instead of raising."""
    port = free_port()
    health = await read_health(f"redis://127.0.0.1:{port}")
    assert not health.ok
    assert health.round_trip_ms is None
    assert str(port) in health.checks[0].detail


async def test_limiters_raise_by_default() -> None:
    """Without a fallback, limiters raise while the server is down."""
    async with RedisStore.from_url(f"redis://127.0.0.1:{free_port()}") as store:
        with pytest.raises(StoreUnavailableError):
            await store.rate_limits.hit("ip")
        with pytest.raises(StoreUnavailableError):
            await store.connections.acquire("ip", "c1")


async def test_limiters_fall_back_to_memory(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """With the fallback, limiters count in memory while the server is down, log once, and return to the server."""
    settings = StoreSettings(limits_on_unavailable="memory", rate_limit_max=3, key_prefix="fallback:")
    async with (
        proxy_to(redis_server.port) as proxy,
        RedisStore.from_url(proxy.url, settings) as store,
        RedisStore.from_url(redis_server.url, settings) as direct,
    ):
        for connection in ("gone", "stays"):
            await direct.connections.acquire("ip", connection)
        proxy.refusing = True
        with caplog.at_level(logging.WARNING, logger="wnc_store"):
            assert [(await store.rate_limits.hit("ip")).allowed for _ in range(4)] == [True, True, True, False]
            assert (await store.rate_limits.peek("ip")).allowed is False
            await store.rate_limits.reset("ip")
            assert await store.connections.acquire("ip", "c1", limit=1) == 1
            with pytest.raises(LimitExceededError):
                await store.connections.acquire("ip", "c2", limit=1)
            assert await store.connections.count("ip") == 1
            assert await store.connections.release("ip", "c1") == 0
            await store.connections.release("ip", "gone")
            with pytest.raises(StoreUnavailableError):
                await store.rooms.get_room("A")
            with pytest.raises(StoreUnavailableError):
                await store.chat.get_messages("A")
        assert len(caplog.records) == 1
        proxy.refusing = False
        assert status(await store.health(), "limits") == "error"
        advance_loop(settings.operation_timeout.total_seconds())
        assert (await store.rate_limits.hit("ip")).remaining == 2
        assert "limits" not in [check.name for check in (await store.health()).checks]
        assert await direct.connections.count("ip") == 1
        await direct.connections.release("ip", "stays")
        await direct.rate_limits.reset("ip")


async def test_a_closed_store_does_not_fall_back() -> None:
    """Limiters of a closed store raise StoreClosedError, also if they had fallen back to memory."""
    settings = StoreSettings(limits_on_unavailable="memory")
    store = RedisStore.from_url(f"redis://127.0.0.1:{free_port()}", settings)
    await store.rate_limits.hit("ip")
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await store.rate_limits.hit("ip")
    with pytest.raises(StoreClosedError):
        await store.connections.count("ip")


@pytest.mark.parametrize(
    "command",
    ["PEXPIRE", "DEL", "PUBLISH", "LTRIM", "SET", "SADD", "RPUSH", "ZADD", "INCRBY", "SREM", "TIME", "SUBSCRIBE"],
)
async def test_a_renamed_command_is_an_error(command: str) -> None:
    """If the server does not know one of the commands, health names it, and leaves no key without a TTL."""
    with start_server("--rename-command", command, "") as server:
        health = await read_health(server.url, publish_changes=True)
        async with admin(server.url) as client:
            endless = [key for key in await client.keys("*") if await client.pttl(key) < 0]
    assert not health.ok
    assert f"{command} is unknown to the server" in str(health.checks)
    assert endless == []


async def test_health_leaves_no_key(redis_server: RedisServer) -> None:
    """Health removes its keys, and neither creates nor changes the index."""
    async with admin(redis_server.url) as client:
        before = await client.keys("*")
        assert (await read_health(redis_server.url)).ok
        assert await client.keys("*") == before


async def test_a_full_memory_is_an_error(redis_server: RedisServer) -> None:
    """If the server rejects writes because its memory is full, health is not ok."""
    health = await read_health(redis_server.url, "maxmemory", "1")
    assert not health.ok
    assert status(health, "scripts") == "error"
