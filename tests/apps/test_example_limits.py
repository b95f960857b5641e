"""The example of the limits for Starlette (`examples/limits`), under uvicorn and on a real Redis."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, ExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from chaos.server import emptied
from redis_server import RedisServer, redis_server
from serving import http_client, load_example, serving
from waiting import SECONDS, wait_until
from wnc_store import Store
from wnc_store_redis import RedisStore

_LOCAL = "127.0.0.1"


@pytest.fixture
async def redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[RedisStore]:
    """The store of the example, on database 7, which is empty before and after the test."""
    url = redis_server.url.replace("/0", "/7")
    monkeypatch.setenv("WNC_STORE_URL", url)
    async with emptied(url), RedisStore.from_url(url) as store:
        yield store


async def _held(store: Store, number: int) -> bool:
    return await store.connections.count(_LOCAL) == number


async def _enter(server: str) -> ClientConnection:
    return await connect(f"ws://{server}/echo", open_timeout=SECONDS, close_timeout=SECONDS, proxy=None)


async def _echoes(guest: ClientConnection) -> bool:
    async with asyncio.timeout(SECONDS):
        await guest.send("hello")
        return await guest.recv() == "hello"


async def test_the_eleventh_connection(redis: RedisStore) -> None:
    """Ten connections of a client are accepted, and the eleventh gets 403 until one of the ten is closed."""
    async with serving(load_example("limits").app) as server, AsyncExitStack() as stack:
        guests = [await stack.enter_async_context(await _enter(server)) for _ in range(10)]
        assert all([await _echoes(guest) for guest in guests])
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await _enter(server)
            assert refused.value.response.status_code == 403
        await guests[3].close()
        await wait_until(lambda: _held(redis, 9))
        assert await _echoes(await stack.enter_async_context(await _enter(server)))
        assert await redis.connections.count(_LOCAL) == 10
    assert await redis.connections.count(_LOCAL) == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_disconnects(redis: RedisStore, *, reset: bool) -> None:
    """A lease is released when its client's connection breaks without a closing handshake."""
    async with serving(load_example("limits").app) as server:
        guest = await _enter(server)
        assert await _echoes(guest)
        assert await redis.connections.count(_LOCAL) == 1
        if reset:
            sock: socket.socket = guest.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        guest.transport.abort()
        await wait_until(lambda: _held(redis, 0))
        await guest.wait_closed()


async def test_a_server_stops(redis: RedisStore) -> None:
    """A stopping server closes its connections and releases their leases."""
    async with AsyncExitStack() as stack:
        async with serving(load_example("limits").app) as server:
            guests = [await stack.enter_async_context(await _enter(server)) for _ in range(3)]
            assert all([await _echoes(guest) for guest in guests])
            assert await redis.connections.count(_LOCAL) == 3
        assert await redis.connections.count(_LOCAL) == 0


async def test_redis_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is unavailable, requests get 503 and WebSockets get 403, and open connections stay open."""
    with ExitStack() as running:
        monkeypatch.setenv("WNC_STORE_URL", running.enter_context(redis_server()).url)
        async with (
            serving(load_example("limits").app) as server,
            await _enter(server) as early,
            http_client() as guest,
        ):
            assert (await guest.get(f"http://{server}/")).status_code == 200
            running.close()
            assert (await guest.get(f"http://{server}/")).status_code == 503
            with pytest.raises(InvalidStatus) as refused:
                await _enter(server)
            assert refused.value.response.status_code == 403
            assert await _echoes(early)
