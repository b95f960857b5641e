"""Tests of notifications about external changes: those of writers that do not publish, such as the Node app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from acl import permit
from chaos.server import admin, emptied
from event_recorder import EXTERNAL, drain, one
from redis_server import RedisServer, redis_server
from waiting import wait_until
from wnc_store import (
    AppEvent,
    HealthCheck,
    Resync,
    RoomChanged,
    RoomClosed,
    StoreSettings,
    VideoState,
    to_wire,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

CHANGED, CLOSED = RoomChanged(room_id="A"), RoomClosed(room_id="A")


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[RedisServer]:
    """A server with keyspace notifications."""
    with redis_server("--notify-keyspace-events", "Kg$xe") as server:
        yield server


@pytest.fixture
async def node(server: RedisServer) -> AsyncIterator[Any]:
    """A redis-py client that acts as the Node app, on an empty database."""
    async with emptied(server.url) as client:
        yield client


@pytest.fixture
async def store(server: RedisServer, node: object) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes and detects external changes, with a room A."""
    assert node
    async with RedisStore.from_url(server.url, EXTERNAL) as store:
        await store.rooms.create_room(room("A", "host", "guest"))
        yield store


async def write_as_node(node: Any, data: bytes) -> None:
    """Write a room as the Node app does."""
    await node.execute_command("SETEX", "room:A", 86400, data)
    await node.sadd("active-rooms", "A")


async def test_an_external_change_is_published(store: RedisStore, node: Any) -> None:
    """Each write of the Node app leads to one RoomChanged without a revision."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")
        await write_as_node(node, data)
        assert await drain(store, "A", events) == [CHANGED]
        await node.set("room:A", data)
        await write_as_node(node, data)
        assert await drain(store, "A", events) == [CHANGED, CHANGED]


async def test_a_single_external_change_is_published_at_once(server: RedisServer, node: Any) -> None:
    """An external change is published at once, also if no other message follows."""
    settings = StoreSettings(notify_external_changes=True, operation_timeout=timedelta(hours=9))
    async with RedisStore.from_url(server.url, settings) as store, store.events.subscribe("A") as events:
        await write_as_node(node, to_wire(room("A")))
        assert await one(events) == CHANGED


async def test_an_external_deletion_is_published(store: RedisStore, node: Any) -> None:
    """An external deletion and the expiry of a room lead to a RoomClosed, and an external creation to a RoomChanged."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")
        await node.delete("room:A")
        await write_as_node(node, data)
        assert await drain(store, "A", events) == [CLOSED, CHANGED]
        await node.pexpire("room:A", 1)

        async def is_gone() -> bool:
            return await store.rooms.get_room("A") is None

        await wait_until(is_gone)
        assert await drain(store, "A", events) == [CLOSED]


async def test_own_changes_are_not_published_twice(store: RedisStore, server: RedisServer) -> None:
    """A change by a store with publish_changes is not published as an external change."""
    async with RedisStore.from_url(server.url, EXTERNAL) as other, store.events.subscribe("A") as events:
        rooms = other.rooms
        await asyncio.gather(*(rooms.add_user_to_room("A", user(f"u{number}")) for number in range(20)))
        await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"v{number}")) for number in range(20)))
        await rooms.update_video_state("A", VideoState(is_playing=True))
        await rooms.set_video_url("A", "https://video.example/1")
        await rooms.transfer_host("A", "guest")
        await rooms.remove_user_from_room("A", "guest")
        await other.chat.add_message(message(1, "A"))
        await rooms.edit_room("A", lambda before: before.replace(host_token="t"))
        await rooms.delete_room("A")
        await rooms.create_room(room("A"))
        await rooms.remove_user_from_room("A", "host")
        received = await drain(other, "A", events)
    assert [event.rev for event in received if event.rev is not None] == [*range(2, 42), 42, 43, 44, 45, 45, 46, 2]
    assert [event for event in received if event.rev is None and "message" not in event.to_json()] == [CLOSED, CHANGED]


async def test_concurrent_own_and_external_changes_are_published(store: RedisStore, node: Any) -> None:
    """During concurrent writes of one room, each external write and each own change is published once."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")

        async def write_externally() -> None:
            for _ in range(50):
                await node.set("room:other", data)  # a room without subscribers
                await node.execute_command("SETEX", "room:A", 86400, data)

        async def write() -> None:
            for number in range(50):
                await store.rooms.update_video_state("A", VideoState(current_time=number, last_update_time=number))

        await asyncio.gather(write_externally(), write())
        received = await drain(store, "A", events)
    assert received.count(CHANGED) == 50
    assert len(received) == 100


async def test_chat_events_do_not_hide_an_external_change(store: RedisStore, node: Any) -> None:
    """Adding, editing, removing and clearing messages after an external change does not hide it."""
    data = await node.get("room:A")
    async with store.events.subscribe("A") as events:
        for write in (
            lambda: store.chat.add_message(message(1, "A")),
            lambda: store.chat.edit_message("A", "m1", lambda found: found),
            lambda: store.chat.remove_message("A", "m1"),
            lambda: store.chat.add_message(message(2, "A")),
            lambda: store.chat.clear_messages("A"),
        ):
            await asyncio.gather(write_as_node(node, data), write())
        received = await drain(store, "A", events)
    assert received.count(CHANGED) == 5
    assert len(received) == 10


async def test_other_messages_do_not_hide_an_external_change(store: RedisStore, node: Any) -> None:
    """An AppEvent, an invalid message or an event of another room after an external change does not hide it."""
    typing, own = AppEvent(room_id="A", name="typing"), RoomChanged(room_id="A", rev=9)
    async with store.events.subscribe("A") as events, store.events.subscribe("B"):
        for followers in (
            [("A", to_wire(typing))],
            [("A", b"no event"), ("A", to_wire(own))],
            [("B", to_wire(RoomChanged(room_id="B", rev=9)))],
        ):
            async with node.pipeline(transaction=True) as transaction:
                transaction.set("room:A", await node.get("room:A"))
                for room_id, follower in followers:
                    transaction.publish(f"events:{room_id}", follower)
                await transaction.execute()
        received = await drain(store, "A", events)
    assert received == [CHANGED, typing, CHANGED, own, CHANGED]


async def test_only_changes_of_subscribed_rooms_are_published(
    store: RedisStore, server: RedisServer, node: Any
) -> None:
    """External changes are published only with the setting; a new TTL, another room or a chat is not a change."""
    async with RedisStore.from_url(server.url) as unnotified, unnotified.events.subscribe("A") as events:
        await node.set("room:A", await node.get("room:A"))
        assert await drain(unnotified, "A", events) == []
    async with store.events.subscribe("A") as events:
        await node.expire("room:A", 1000)
        await node.persist("room:A")
        await node.set("room:AB", "x")
        await node.rpush("chat:A", "x")
        assert await drain(store, "A", events) == []


async def test_a_store_that_does_not_publish_is_external(store: RedisStore, server: RedisServer) -> None:
    """A change by a store without publish_changes is an external change."""
    async with RedisStore.from_url(server.url) as silent, store.events.subscribe("A") as events:
        await silent.rooms.add_user_to_room("A", user("new"))
        assert await drain(silent, "A", events) == [CHANGED]


async def test_external_changes_are_published_after_a_lost_connection(store: RedisStore, node: Any) -> None:
    """After a lost connection a Resync arrives, and later external changes are published."""
    async with store.events.subscribe("A") as events:
        await node.client_kill_filter(_type="pubsub")
        assert await one(events) == Resync(room_id="A")
        await node.set("room:A", await node.get("room:A"))
        assert await drain(store, "A", events) == [CHANGED]


async def test_the_documented_acl_pattern_is_sufficient(server: RedisServer, node: Any) -> None:
    """With the documented ACL pattern external changes are published; without it, subscribing is denied."""
    await node.set("room:A", to_wire(room("A")))
    settings = StoreSettings(notify_external_changes=True)
    async with RedisStore.from_url(permit(server), settings) as store:
        with pytest.raises(Exception, match="NOPERM"):
            await store.events.subscribe("A").__aenter__()
    async with RedisStore.from_url(permit(server, "", "&__keyspace@0__:room:*"), settings) as store:
        async with store.events.subscribe("A") as events:
            await node.set("room:A", to_wire(room("A")))
            assert await drain(store, "A", events) == [CHANGED]


RUN = "run CONFIG SET notify-keyspace-events with Kg$xe "


@pytest.mark.parametrize(
    ("flags", "needed", "status", "detail", "hint"),
    [
        ("", True, "error", "lacks Kg$xe", RUN),
        ("Kg$x", True, "error", "lacks e", RUN),
        ("Eg$xe", True, "error", "lacks K", RUN),
        ("Kgxe", True, "error", "lacks $", RUN),
        ("", False, "ok", "cannot be detected", "CONFIG SET notify-keyspace-events"),
        ("Kg$xe", True, "ok", "can be detected", ""),
        ("Kg$xe", False, "ok", "can be detected", ""),
        ("KEA", True, "ok", "can be detected", ""),
        ("KA", False, "ok", "can be detected", ""),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_health_reports_the_flags(  # noqa: PLR0913, PLR0917 - the parameters of a case
    server: RedisServer, flags: str, needed: bool, status: str, detail: str, hint: str, protocol: int
) -> None:
    """Missing flags are an error if external changes are needed, and the hint names the command that adds them."""
    async with admin(server.url) as client:
        await client.config_set("notify-keyspace-events", flags)
        found = await notifications(f"{server.url}?protocol={protocol}", needed=needed)
        await client.config_set("notify-keyspace-events", "Kg$xe")
    assert (found.status, detail in found.detail, hint in found.hint) == (status, True, True)


async def notifications(url: str, *, needed: bool) -> HealthCheck:
    """Return the check of notifications in a store's health."""
    async with RedisStore.from_url(url, StoreSettings(notify_external_changes=needed)) as store:
        health = await store.health()
    (found,) = [check for check in health.checks if check.name == "notifications"]
    assert health.ok is (found.status == "ok")
    return found


async def test_health_reports_a_missing_permission(server: RedisServer) -> None:
    """Without permission to read the configuration, the status is unknown, and the hint names the permission."""
    found = await notifications(permit(server, "", "+info"), needed=True)
    assert (found.status, "+config|get" in found.hint) == ("unknown", True)


async def test_an_unreadable_setting_that_is_not_needed_is_not_checked(server: RedisServer) -> None:
    """Without `notify_external_changes`, a configuration that cannot be read is not checked, and health is ok."""
    async with RedisStore.from_url(permit(server, "", "+info")) as store:
        health = await store.health()
    assert (health.ok, "notifications" in [check.name for check in health.checks]) == (True, False)
