"""Valkey: URLs, health, errors and deployments, on real Valkey servers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from acl import permit
from command_line import wnc_store
from packaged_servers import valkey
from redis_cluster import redis_cluster
from redis_sentinels import sentinel_service
from redis_server import RedisServer, free_port, running
from tls import Authority, tls_server, tls_url
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    ServerInfo,
    Store,
    StoreSettings,
    StoreUnavailableError,
    SupportsServerActivity,
    open_store,
)
from wnc_store_contract.factories import message, room

PUBLISHES = StoreSettings(publish_changes=True, operation_timeout=timedelta(seconds=60))


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[RedisServer]:
    """A Valkey server."""
    with running(server := RedisServer(program=valkey())):
        yield server


@pytest.fixture(name="version")
def _version(server: RedisServer) -> str:
    """The version that the server's program has."""
    found = re.search(r"valkey_version:(\S+)", server.ask("INFO", "server").decode())
    assert found is not None
    return found[1]


async def use(store: Store) -> None:
    """Create, use and delete a room with a chat and a subscriber."""
    async with store.events.subscribe("A") as events:
        await store.rooms.create_room(room("A"))
        await store.chat.add_message(message(1, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]
        assert await store.rooms.delete_room("A")
        assert (await anext(events)).room_id == "A"


async def test_a_store_over_tcp(server: RedisServer) -> None:
    """A valkey:// URL opens a store on the server."""
    async with open_store(server.valkey_url, settings=PUBLISHES) as store:
        await use(store)


async def test_a_store_over_a_unix_socket(server: RedisServer) -> None:
    """A unix:// URL opens a store on a Valkey server, too."""
    async with open_store(server.unix_url, settings=PUBLISHES) as store:
        await use(store)


async def test_a_store_over_tls(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A valkeys:// URL uses TLS as rediss:// does. The packaged Valkey has no TLS, so this is a redis-server."""
    authority = Authority(tmp_path_factory.mktemp("tls") / "authority")
    with tls_server(authority, "localhost") as server:
        url = tls_url(server, authority=authority, client=authority.sign("client.example"))
        async with open_store(url.replace("rediss://", "valkeys://"), settings=PUBLISHES) as store:
            await use(store)
        plain = server.valkey_url.replace("127.0.0.1", "localhost")
        async with open_store(plain) as store:
            with pytest.raises(StoreUnavailableError, match=r"^Valkey at localhost.* TLS \(valkeys://\)"):
                await store.ping()


async def test_the_documented_user_is_sufficient(server: RedisServer) -> None:
    """The user of the page on permissions can run every command of a store on Valkey."""
    url = permit(server, "").replace("redis://", "valkey://")
    async with open_store(url, settings=PUBLISHES) as store:
        await use(store)
        statuses = {check.name: check.status for check in (await store.health()).checks}
    assert [statuses[name] for name in ("scripts", "events", "retries")] == ["ok"] * 3


@pytest.mark.parametrize("scheme", ["valkey", "redis"])
async def test_health_and_activity_name_the_server(server: RedisServer, version: str, scheme: str) -> None:
    """Health and activity contain Valkey and its own version, not the version of Redis, whatever the URL is."""
    async with open_store(server.valkey_url.replace("valkey", scheme)) as store:
        health = await store.health()
        assert isinstance(store, SupportsServerActivity)
        activity = await store.activity()
    assert b"redis_version:7.2.4" in server.ask("INFO", "server")
    assert health.ok
    assert health.server == activity.server == ServerInfo("Valkey", version)
    assert (health.to_json()["server"], health.to_json()["version"]) == ("Valkey", version)


async def test_doctor_and_top_name_the_server(server: RedisServer, version: str) -> None:
    """The commands doctor and top print Valkey and its own version, also as JSON."""
    for command in (("doctor", server.valkey_url), ("top", server.valkey_url, "--once")):
        text = (await asyncio.to_thread(wnc_store, *command)).stdout
        assert f"RedisStore on Valkey {version}" in text
        found = json.loads((await asyncio.to_thread(wnc_store, *command, "--json")).stdout)
        assert (found["server"], found["version"]) == ("Valkey", version)


def test_verify_takes_a_valkey_url(server: RedisServer) -> None:
    """The command verify finds the harness of a valkey:// URL, and reports the URL's scheme."""
    url = server.valkey_url.replace("/0", "/9")
    report = json.loads(wnc_store("verify", url, "--only", "twenty_messages_are_kept", "--json").stdout)
    assert (report["target"], report["level"], report["problem"]) == ("valkey://", "selected", None)


async def test_redis_is_named_whatever_the_url_is(redis_server: RedisServer) -> None:
    """Health of a Redis server names Redis, also for a valkey:// URL."""
    async with open_store(redis_server.valkey_url) as store:
        server = (await store.health()).server
    assert server is not None
    assert server.name == "Redis"
    assert f"redis_version:{server.version}\r\n".encode() in redis_server.ask("INFO", "server")


async def test_an_unreachable_server_is_named() -> None:
    """The error for an unreachable server has the name of the product in the URL."""
    port = free_port()
    for scheme, name in (("valkey", "Valkey"), ("redis", "Redis")):
        async with open_store(f"{scheme}://127.0.0.1:{port}") as store:
            with pytest.raises(StoreUnavailableError, match=f"^{name} at 127.0.0.1:{port} cannot be reached"):
                await store.ping()


async def test_a_wrong_deployment_is_explained(server: RedisServer) -> None:
    """The error of a URL for another deployment names a scheme of Valkey."""
    address = f"127.0.0.1:{server.port}"
    for url in (f"valkey+sentinel://{address}/party", f"valkey+cluster://{address}"):
        async with open_store(url) as store:
            with pytest.raises(ConfigurationError, match=r"^Valkey at .* use valkey://$"):
                await store.rooms.get_room("A")


async def test_sentinel() -> None:
    """A valkey+sentinel:// URL follows a failover between Valkey servers. Health reports a URL of a Sentinel."""
    with sentinel_service(replicas=1, sentinels=1, program=valkey()) as service:
        async with open_store(service.url.replace("redis+", "valkey+"), settings=PUBLISHES) as store:
            await use(store)
            before = service.master()
            service.fail_over()
            await wait_until(lambda: service.master() is not before)
            await use(store)
        url = f"valkey://127.0.0.1:{service.sentinels[0].port}"
        async with open_store(url) as store:
            hints = [check.hint for check in (await store.health()).checks if check.name == "mode"]
        assert hints == ["use valkey+sentinel://"]


async def test_cluster() -> None:
    """A valkey+cluster:// URL opens a store on a cluster of Valkey servers, and health names Valkey."""
    with redis_cluster(replicas=0, program=valkey()) as cluster:
        async with open_store(cluster.url.replace("redis+", "valkey+"), settings=PUBLISHES) as store:
            await use(store)
            server = (await store.health()).server
            assert server is not None
            assert server.name == "Valkey"
        (elsewhere,) = cluster.names("A", owner=1, count=1)
        async with open_store(cluster.masters[0].valkey_url) as store:
            with pytest.raises(ConfigurationError, match=r"use valkey\+cluster://"):
                await store.rooms.get_room(elsewhere)
