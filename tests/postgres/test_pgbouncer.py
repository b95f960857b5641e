"""PgBouncer in transaction mode, which may run each transaction of a session in another server process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from event_recorder import one
from every_operation import refusals
from pgbouncer import MISSING, PROGRAM, pgbouncer
from postgres_server import PostgresServer
from wnc_store import ConfigurationError, NotSupportedError, Store, StoreSettings, UserJoined, open_store
from wnc_store_contract.factories import room, user

_PATIENCE = timedelta(minutes=5)
"""An operation waits for a server process that another session uses, which can take long on a busy machine."""

pytestmark = pytest.mark.skipif(PROGRAM is None, reason=MISSING)


@pytest.fixture(scope="module")
def port(postgres_server: PostgresServer) -> Iterator[int]:
    """The port of PgBouncer with a pool of four server processes."""
    with pgbouncer(postgres_server) as port:
        yield port


def open_pooled(port: int, shared: str, options: str = "", *, publish_changes: bool = False) -> Store:
    """Open a store with other keys than any other store."""
    settings = StoreSettings(key_prefix=f"{uuid4().hex}:", operation_timeout=_PATIENCE, publish_changes=publish_changes)
    return open_store(f"postgresql://postgres@127.0.0.1:{port}/{shared}?pgbouncer=true{options}", settings=settings)


async def test_every_operation_works(port: int, shared: str, postgres_server: PostgresServer) -> None:
    """With ?pgbouncer=true, and the server itself as `direct`, every operation works and publishes its events."""
    direct = f"&direct=127.0.0.1:{postgres_server.port}"
    async with open_pooled(port, shared, direct, publish_changes=True) as store:
        assert await refusals(store) == []


async def test_sessions_share_server_processes(port: int, shared: str) -> None:
    """Many concurrent operations of two stores work on fewer server processes than the stores have connections."""
    async with open_pooled(port, shared) as first, open_pooled(port, shared) as second:
        await asyncio.gather(*(store.rooms.create_room(room("A")) for store in (first, second)))
        for store in (first, second):
            await asyncio.gather(*(store.rate_limits.hit("ip") for _ in range(40)))
            await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"u{number}")) for number in range(40)))
            found = await store.rooms.get_room("A")
            assert found is not None
            assert len(found.users) == 1 + 40
            assert (await store.rate_limits.peek("ip")).remaining == 360 - 40


async def test_events_arrive_from_the_server_itself(port: int, shared: str, postgres_server: PostgresServer) -> None:
    """A subscription listens at the address `direct`, and receives what is written through PgBouncer."""
    direct = f"&direct=127.0.0.1:{postgres_server.port}"
    async with open_pooled(port, shared, direct, publish_changes=True) as store:
        await store.rooms.create_room(room("A"))
        async with store.events.subscribe("A") as events:
            await store.rooms.add_user_to_room("A", user("guest"))
            event = await one(events)
    assert isinstance(event, UserJoined)
    assert event.user.id == "guest"


async def test_events_need_a_direct_address(port: int, shared: str) -> None:
    """Without `direct`, a subscription is rejected with an error that names the option."""
    async with open_pooled(port, shared) as store:
        with pytest.raises((ConfigurationError, NotSupportedError), match="direct="):
            async with store.events.subscribe("A"):
                pass


async def test_an_undeclared_pooler_is_recognized(port: int, shared: str) -> None:
    """Without ?pgbouncer=true, the store recognizes the pooler before it writes, and the error names the option."""
    with pytest.raises(ConfigurationError, match=r"\?pgbouncer=true"):
        async with open_store(f"postgresql://postgres@127.0.0.1:{port}/{shared}") as store:
            await store.rooms.create_room(room("A"))
