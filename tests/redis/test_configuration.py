"""Clients, URLs and servers that do not match: errors at once that name the problem."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis import exceptions as driver
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from local_variables import shown_with_traceback
from redis_sentinels import SERVICE
from redis_server import RedisServer, free_port, redis_server, running, wait_for_reply
from tcp import tcp_server
from wnc_store import (
    ConfigurationError,
    CorruptRecordError,
    HealthReport,
    OutcomeUnknownError,
    Room,
    Store,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import room, user
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"
MANY_RETRIES = 5


class Rotating(CredentialProvider):
    """Credentials that change.

    Attributes:
        password: the current password.
        queries: how often it was queried.
    """

    def __init__(self, password: str) -> None:
        self.password = password
        self.queries = 0

    def get_credentials(self) -> tuple[str]:
        """Return the password."""
        self.queries += 1
        return (self.password,)

    async def get_credentials_async(self) -> tuple[str]:
        """Return the password."""
        return self.get_credentials()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    """A server with a password."""
    server = RedisServer("--requirepass", SECRET, password=SECRET)
    with running(server):
        yield server


def callers_client(server: RedisServer, **options: Any) -> Any:
    """Return a client with many retries."""
    return Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), MANY_RETRIES), **options)


async def test_a_wrong_password_of_a_callers_client_is_reported_at_once(guarded: RedisServer) -> None:
    """The client's own retries do not run: each operation opens one connection and raises a ConfigurationError."""
    async with callers_client(guarded, password="mistaken") as client, RedisStore(client) as store:
        before = _connections(guarded)
        with pytest.raises(ConfigurationError, match="rejected the credentials") as caught:
            await store.rooms.create_room(room("A"))
        assert _connections(guarded) == before + 2  # the store's, and that of the count itself
        assert "mistaken" not in shown_with_traceback(caught.value)


def _connections(server: RedisServer) -> int:
    reply = server.ask("INFO", "stats").decode()
    return int(reply.partition("total_connections_received:")[2].split()[0])


async def test_a_credential_provider_is_queried_for_each_connection(guarded: RedisServer) -> None:
    """After a rotated password was rejected, the next operation queries the provider again and succeeds."""
    provider = Rotating("mistaken")
    async with callers_client(guarded, credential_provider=provider) as client, RedisStore(client) as store:
        for queries in (1, 2):
            with pytest.raises(ConfigurationError, match="rejected the credentials"):
                await store.ping()
            assert provider.queries == queries
        provider.password = SECRET
        await store.ping()
        await store.ping()
        assert provider.queries == 3


async def test_a_replaced_password_is_used_by_the_next_connection(guarded: RedisServer) -> None:
    """A password that the caller replaces in the client's options is used by the next connection."""
    async with callers_client(guarded, password="mistaken") as client, RedisStore(client) as store:
        with pytest.raises(ConfigurationError, match="rejected the credentials"):
            await store.ping()
        client.connection_pool.connection_kwargs["password"] = SECRET
        await store.ping()


@asynccontextmanager
async def closing_server() -> AsyncGenerator[tuple[int, list[None]]]:
    """Yield the port of a server that closes every connection, and a list with an item for each connection."""
    connections: list[None] = []

    async def close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        connections.append(None)

    async with tcp_server(close) as port:
        yield port, connections


async def test_a_server_that_closes_connections_is_reported_at_once() -> None:
    """If a caller's client can't connect, each operation makes one attempt and raises a StoreUnavailableError."""
    async with closing_server() as (port, connections):
        client: Any = Redis(host="127.0.0.1", port=port, db=1, retry=Retry(NoBackoff(), MANY_RETRIES))
        async with client, RedisStore(client) as store:
            with pytest.raises(StoreUnavailableError):
                await store.rooms.create_room(room("A"))
        assert len(connections) == 1


async def test_a_callers_client_without_a_server_is_reported_at_once() -> None:
    """Without a server, the backoff of a caller's client never runs."""
    waits: list[int] = []

    class Counting(NoBackoff):
        def compute(self, failures: int) -> float:
            waits.append(failures)
            return 0

    client: Any = Redis(port=free_port(), retry=Retry(Counting(), MANY_RETRIES))
    async with client, RedisStore(client) as store:
        with pytest.raises(StoreUnavailableError, match="cannot be reached") as caught:
            await store.ping()
    assert not isinstance(caught.value, OutcomeUnknownError)
    assert not waits


async def test_the_callers_client_keeps_its_retries(guarded: RedisServer) -> None:
    """The store leaves the options and the connections of a caller's client unchanged."""
    async with callers_client(guarded, password=SECRET) as client:
        before = dict(client.connection_pool.connection_kwargs)
        async with RedisStore(client) as store:
            await store.ping()
        assert dict(client.connection_pool.connection_kwargs) == before
        connection = await client.connection_pool.get_connection()
        assert connection.retry.get_retries() == MANY_RETRIES
        await client.connection_pool.release(connection)


async def test_a_callers_sentinel_client_is_not_retried() -> None:
    """A Sentinel of a caller's client that closes connections is polled without the client's retries."""
    async with closing_server() as (port, connections):
        manager: Any = Sentinel(
            [("127.0.0.1", port)], sentinel_kwargs={"retry": Retry(NoBackoff(), MANY_RETRIES), "protocol": 2}
        )
        client = manager.master_for(SERVICE)
        async with RedisStore(client) as store:
            router: Any = store._commands._router
            with pytest.raises(driver.ConnectionError):
                await router._monitor._sentinels[0].ping()
        assert len(connections) == 1
        await client.aclose()
        await manager.aclose()


@pytest.fixture(scope="module")
def node() -> Iterator[RedisServer]:
    """A cluster with one node."""
    with redis_server("--cluster-enabled", "yes") as server:
        server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for_reply("cluster_state:ok", server, to=("CLUSTER", "INFO"))
        yield server


@pytest.fixture(scope="module")
def sentinel() -> Iterator[RedisServer]:
    """A Sentinel that monitors nothing."""
    server = RedisServer("sentinel monitor party 127.0.0.1 1 1", sentinel=True)
    with running(server):
        yield server


def _create(store: Store) -> Awaitable[object]:
    return store.rooms.create_room(room("A"))


def _get(store: Store) -> Awaitable[object]:
    return store.rooms.get_room("A")


@pytest.mark.parametrize(("path", "call"), [("", _create), ("/1", _create), ("/1", _get)])
async def test_a_node_of_a_cluster_needs_redis_cluster(
    node: RedisServer, path: str, call: Callable[[Store], Awaitable[object]]
) -> None:
    """A redis:// URL of a node of a cluster raises a ConfigurationError that names redis+cluster://."""
    async with open_store(f"redis://127.0.0.1:{node.port}{path}") as store:
        with pytest.raises(ConfigurationError, match=r"use redis\+cluster://"):
            await call(store)
    async with open_store(f"redis+cluster://127.0.0.1:{node.port}") as store:
        assert await store.rooms.get_room("A") is None


async def test_health_finds_a_node_of_a_cluster(node: RedisServer) -> None:
    """Health reports a redis:// URL of a node of a cluster, and not a redis+cluster:// URL."""
    problem = ("mode", "error", "the server is a node of a cluster", "use redis+cluster://")
    assert problem in _checks(await _health(f"redis://127.0.0.1:{node.port}"))
    report = await _health(f"redis://127.0.0.1:{node.port}/1")
    assert not report.ok
    assert "use redis+cluster://" in report.checks[0].detail
    assert "mode" not in [check.name for check in (await _health(f"redis+cluster://127.0.0.1:{node.port}")).checks]


async def test_a_sentinel_needs_redis_sentinel(sentinel: RedisServer) -> None:
    """A redis:// URL of a Sentinel raises a ConfigurationError that names redis+sentinel://, and health reports it."""
    url = f"redis://127.0.0.1:{sentinel.port}"
    async with open_store(url) as store:
        for call in (_create, _get):
            with pytest.raises(ConfigurationError, match=r"use redis\+sentinel://"):
                await call(store)
    assert ("mode", "error", "the server is a Sentinel", "use redis+sentinel://") in _checks(await _health(url))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis+sentinel://127.0.0.1:{}/party", "is not a Sentinel; use redis://"),
        ("redis+cluster://127.0.0.1:{}", "is not a cluster; use redis://"),
    ],
)
async def test_a_plain_server_needs_redis(redis_server: RedisServer, url: str, problem: str) -> None:
    """A redis+sentinel:// or redis+cluster:// URL of a plain server raises a ConfigurationError at once."""
    async with open_store(url.format(redis_server.port)) as store:
        with pytest.raises(ConfigurationError, match=problem):
            await store.rooms.create_room(room("A"))
        assert problem in (await store.health()).checks[0].detail


async def test_a_sentinel_is_not_a_cluster(sentinel: RedisServer) -> None:
    """A redis+cluster:// URL of a Sentinel raises a ConfigurationError."""
    async with open_store(f"redis+cluster://127.0.0.1:{sentinel.port}") as store:
        with pytest.raises(ConfigurationError, match="is not a cluster"):
            await store.rooms.get_room("A")


async def test_an_invalid_client_name_is_named(redis_server: RedisServer) -> None:
    """A client_name that the server rejects raises a ConfigurationError that names the option."""
    clients: tuple[Any, ...] = (
        Redis(port=redis_server.port, client_name="my app"),
        RedisCluster(startup_nodes=[], host="127.0.0.1", port=redis_server.port, client_name="my app"),
    )
    for client in clients:
        async with RedisStore(client) as store:
            with pytest.raises(ConfigurationError, match="rejected the client_name"):
                await store.ping()
        await client.aclose()


async def test_no_local_variable_of_a_failed_write_shows_a_secret(redis_server: RedisServer, node: RedisServer) -> None:
    """The traceback of a failed write shows neither the host token nor the password, with all local variables."""
    new = Room.hosted_by(room("A").users[0], room_id="A").replace(host_token=SECRET)
    refused = f"redis://:{SECRET}@127.0.0.1:{free_port()}"
    urls = [refused, f"redis://127.0.0.1:{node.port}", redis_server.url.replace("redis://", f"redis://:{SECRET}@")]
    for url in urls:
        async with open_store(url) as store:
            with pytest.raises(StoreError) as caught:
                await store.rooms.create_room(new)
            assert SECRET not in shown_with_traceback(caught.value)


@pytest.mark.parametrize("cached", [False, True])
async def test_no_local_variable_of_a_failed_read_shows_a_secret(client: Any, url: str, cached: bool) -> None:
    """The traceback of a corrupt room does not show the stored host token, with all local variables."""
    async with open_store(url) as store:
        if cached:
            await store.rooms.create_room(room("A"))
        await client.set("room:A", f'{{"hostToken":"{SECRET}","id":"A","hostId":5}}')
        for call in (store.rooms.get_room("A"), store.rooms.add_user_to_room("A", user("guest"))):
            with pytest.raises(CorruptRecordError) as caught:
                await call
            assert SECRET not in shown_with_traceback(caught.value)


async def _health(url: str) -> HealthReport:
    async with open_store(url) as store:
        return await store.health()


def _checks(report: HealthReport) -> list[tuple[str, ...]]:
    return [(check.name, check.status, check.detail, check.hint) for check in report.checks]
