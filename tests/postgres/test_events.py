"""Events over LISTEN and NOTIFY, where they differ from the contract's clauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from postgres_database import PATIENT, Connection
from proxy import proxy_to
from wnc_store import AppEvent, Resync, RoomChanged, RoomEvent, Store, StoreSettings, open_store
from wnc_store_contract.factories import room
from wnc_store_postgres.keys import Keys

PUBLISHING = PATIENT.model_copy(update={"publish_changes": True})


def event(name: str, value: object = None) -> AppEvent:
    """Return an event of room A."""
    return AppEvent(room_id="A", name=name, value=value)


async def names(events: AsyncIterator[RoomEvent], number: int) -> list[str]:
    """Return the names or types of the next events."""
    received = [await anext(events) for _ in range(number)]
    return [one.name if isinstance(one, AppEvent) else type(one).__name__ for one in received]


async def test_a_large_event_arrives_whole(store: Store) -> None:
    """An event above the limit of a notification arrives unchanged, and in order with small ones."""
    text = "😀" * 12_000
    async with store.events.subscribe("A") as events:
        for one in (event("before"), event("large", text), event("after")):
            await store.events.publish("A", one)
        received = [await anext(events) for _ in range(3)]
    assert received == [event("before"), event("large", text), event("after")]


async def test_events_keep_the_order_of_the_calls(store: Store) -> None:
    """Events that one store publishes concurrently arrive in the order of the calls."""
    async with store.events.subscribe("A") as events:
        await asyncio.gather(*(store.events.publish("A", event(str(number))) for number in range(50)))
        assert await names(events, 50) == [str(number) for number in range(50)]


async def test_an_event_of_a_write_that_is_rolled_back_is_not_sent(url: str, plain: Connection) -> None:
    """The events of a write belong to its transaction: if the transaction fails, subscribers hear nothing."""
    async with open_store(url, settings=PUBLISHING) as store:
        async with store.events.subscribe("A") as events:
            await plain.execute("ALTER TABLE wnc_store_active ADD CONSTRAINT no_a CHECK (room_id <> 'A')")
            try:
                with pytest.raises(Exception, match="23514"):
                    await store.rooms.create_room(room("A"))
            finally:
                await plain.execute("ALTER TABLE wnc_store_active DROP CONSTRAINT no_a")
            await store.rooms.create_room(room("A"))
            await store.events.publish("A", event("after"))
            assert await names(events, 2) == [RoomChanged.__name__, "after"]


async def test_other_prefixes_are_not_heard(url: str) -> None:
    """A store does not receive events of a store with another key prefix in the same database."""
    async with (
        open_store(url) as store,
        open_store(url, settings=PATIENT.model_copy(update={"key_prefix": "other:"})) as other,
    ):
        async with store.events.subscribe("A") as events:
            await other.events.publish("A", event("other"))
            await store.events.publish("A", event("own"))
            assert await names(events, 1) == ["own"]


@pytest.mark.parametrize("kind", ["terminated", "silent"])
async def test_a_lost_connection_is_one_gap(url: str, plain: Connection, kind: str) -> None:
    """After the listening connection was terminated or became silent, one Resync arrives, and events after it."""
    port = int(url.rpartition("/")[0].rpartition(":")[2])
    settings = StoreSettings(operation_timeout=timedelta(seconds=3))
    async with proxy_to(port) as proxied, open_store(url) as publisher:
        proxied_url = f"{url.replace(f':{port}/', f':{proxied.port}/')}?application_name=listening"
        async with open_store(proxied_url, settings=settings) as store, store.events.subscribe("A") as events:
            if kind == "terminated":
                await plain.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'listening'"
                )
            else:
                proxied.close_hole()
                connections = proxied.connections
                while proxied.connections == connections:  # noqa: ASYNC110 - the heartbeat has noticed
                    await asyncio.sleep(0.05)
                proxied.cut_all()
                proxied.open_hole()
            assert isinstance(await anext(events), Resync)
            await publisher.events.publish("A", event("after"))
            assert await names(events, 1) == ["after"]


async def test_a_payload_of_another_program_is_skipped(plain: Connection, store: Store) -> None:
    """A notification that another program sends on the channel ends no subscription."""
    async with store.events.subscribe("A") as events:
        await plain.execute("SELECT pg_notify($1, 'hello world')", Keys("").channel)
        await store.events.publish("A", event("after"))
        assert await names(events, 1) == ["after"]
