"""Changes of rooms by writers that publish nothing, such as the Node app, told by keyspace notifications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from acl import permit
from event_recorder import one
from redis_server import RedisServer, redis_server
from waiting import wait_until
from wnc_store import (
    AppEvent,
    HealthReport,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    StoreSettings,
    VideoState,
    to_wire,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

CHANGED, CLOSED = RoomChanged(room_id="A"), RoomClosed(room_id="A")
LAST = AppEvent(room_id="A", name="last")
FOREIGN = StoreSettings(publish_changes=True, notify_external_changes=True)


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[RedisServer]:
    """A server that notifies of what happens to keys."""
    with redis_server("--notify-keyspace-events", "Kg$xe") as server:
        yield server


@pytest.fixture
async def node(server: RedisServer) -> AsyncIterator[Any]:
    """A plain client in the place of the Node app; the database is emptied."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as made:
        await made.flushall()
        yield made


@pytest.fixture
async def store(server: RedisServer, node: object) -> AsyncIterator[RedisStore]:
    """A store that tells its own changes and those of others, with a room A."""
    assert node
    async with RedisStore.from_url(server.url, FOREIGN) as made:
        await made.rooms.create_room(room("A", "host", "guest"))
        yield made


async def on_message(store: RedisStore, events: AsyncIterator[RoomEvent]) -> Sequence[RoomEvent]:
    """Publish a last event, and return all that come before it."""
    await store.events.publish("A", LAST)
    found: list[RoomEvent] = []
    while (event := await one(events)) != LAST:
        found.append(event)
    return found


async def write_as_node(node: Any, data: bytes) -> None:
    """Write a room in the way of the original."""
    await node.execute_command("SETEX", "room:A", 86400, data)
    await node.sadd("active-rooms", "A")


async def test_a_change_by_somebody_else_is_told(store: RedisStore, node: Any) -> None:
    """What the Node app writes is one RoomChanged without a revision."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")
        await write_as_node(node, data)
        assert await on_message(store, events) == [CHANGED]
        await node.set("room:A", data)
        await write_as_node(node, data)
        assert await on_message(store, events) == [CHANGED, CHANGED]


async def test_a_change_alone_is_told(server: RedisServer, node: Any) -> None:
    """A change that nothing follows, for hours, is told at once."""
    patient = StoreSettings(notify_external_changes=True, operation_timeout=timedelta(hours=9))
    async with RedisStore.from_url(server.url, patient) as store, store.events.subscribe("A") as events:
        await write_as_node(node, to_wire(room("A")))
        assert await one(events) == CHANGED


async def test_the_end_of_a_room_is_told(store: RedisStore, node: Any) -> None:
    """A deletion by the Node app, and the end of a room's TTL, is a RoomClosed; a new room a RoomChanged."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")
        await node.delete("room:A")
        await write_as_node(node, data)
        assert await on_message(store, events) == [CLOSED, CHANGED]
        await node.pexpire("room:A", 1)

        async def is_gone() -> bool:
            return await store.rooms.get_room("A") is None

        await wait_until(is_gone)
        assert await on_message(store, events) == [CLOSED]


async def test_own_changes_are_not_told_twice(store: RedisStore, server: RedisServer) -> None:
    """No change of a store that publishes is told as somebody else's, whichever operation and client makes it."""
    async with RedisStore.from_url(server.url, FOREIGN) as other, store.events.subscribe("A") as events:
        rooms = other.rooms
        await asyncio.gather(*(rooms.add_user_to_room("A", user(f"u{number}")) for number in range(20)))
        await asyncio.gather(*(store.rooms.add_user_to_room("A", user(f"v{number}")) for number in range(20)))
        await rooms.update_video_state("A", VideoState(is_playing=True))
        await rooms.set_video_url("A", "https://video.example/1")
        await rooms.transfer_host("A", "guest")
        await rooms.remove_user_from_room("A", "guest")
        await other.chat.add_message(message(1, "A"))
        await rooms.edit_room("A", lambda before: before.model_copy(update={"host_token": "t"}))
        await rooms.delete_room("A")
        await rooms.create_room(room("A"))
        await rooms.remove_user_from_room("A", "host")
        found = await on_message(other, events)
    assert [event.rev for event in found if event.rev is not None] == [*range(2, 42), 42, 43, 44, 45, 45, 46, 2]
    assert [event for event in found if event.rev is None and "message" not in event.to_json()] == [CLOSED, CHANGED]


async def test_both_are_told_side_by_side(store: RedisStore, node: Any) -> None:
    """While both write the same room all the time, each foreign write is told, and each own change once."""
    async with store.events.subscribe("A") as events:
        data = await node.get("room:A")

        async def foreign() -> None:
            for _ in range(50):
                await node.set("room:other", data)  # nobody reads that one
                await node.execute_command("SETEX", "room:A", 86400, data)

        async def own() -> None:
            for number in range(50):
                await store.rooms.update_video_state("A", VideoState(current_time=number, last_update_time=number))

        await asyncio.gather(foreign(), own())
        found = await on_message(store, events)
    assert found.count(CHANGED) == 50
    assert len(found) == 100


async def test_an_apps_event_is_no_sign_of_an_own_change(store: RedisStore, node: Any) -> None:
    """An app's event, what is no event, and another room's, that follow a foreign change do not hide it."""
    typing, own = AppEvent(room_id="A", name="typing"), RoomChanged(room_id="A", rev=9)
    async with store.events.subscribe("A") as events, store.events.subscribe("B"):
        for followers in (
            [("A", to_wire(typing))],
            [("A", b"no event"), ("A", to_wire(own))],
            [("B", to_wire(RoomChanged(room_id="B", rev=9)))],
        ):
            async with node.pipeline(transaction=True) as together:
                together.set("room:A", await node.get("room:A"))
                for room_id, follower in followers:
                    together.publish(f"events:{room_id}", follower)
                await together.execute()
        found = await on_message(store, events)
    assert found == [CHANGED, typing, CHANGED, own, CHANGED]


async def test_only_what_is_asked_for_is_told(store: RedisStore, server: RedisServer, node: Any) -> None:
    """Without notify_external_changes nothing is told of others; nor is a new TTL, or another room, a change."""
    async with RedisStore.from_url(server.url) as quiet, quiet.events.subscribe("A") as events:
        await node.set("room:A", await node.get("room:A"))
        assert await on_message(quiet, events) == []
    async with store.events.subscribe("A") as events:
        await node.expire("room:A", 1000)
        await node.persist("room:A")
        await node.set("room:AB", "x")
        await node.rpush("chat:A", "x")
        assert await on_message(store, events) == []


async def test_who_does_not_publish_is_somebody_else(store: RedisStore, server: RedisServer) -> None:
    """A change by a store of this library that does not publish is told as somebody else's."""
    async with RedisStore.from_url(server.url) as silent, store.events.subscribe("A") as events:
        await silent.rooms.add_user_to_room("A", user("new"))
        assert await on_message(silent, events) == [CHANGED]


async def test_foreign_changes_are_told_after_a_cut(store: RedisStore, node: Any) -> None:
    """When the connection was lost, a Resync comes, and then foreign changes are told again."""
    async with store.events.subscribe("A") as events:
        await node.client_kill_filter(_type="pubsub")
        assert await one(events) == Resync(room_id="A")
        await node.set("room:A", await node.get("room:A"))
        assert await on_message(store, events) == [CHANGED]


async def test_the_documented_pattern_is_enough(server: RedisServer, node: Any) -> None:
    """A user with the documented line is told of foreign changes with one pattern more, and refused without it."""
    await node.set("room:A", to_wire(room("A")))
    settings = StoreSettings(notify_external_changes=True)
    async with RedisStore.from_url(permit(server), settings) as store:
        with pytest.raises(Exception, match="NOPERM"):
            await store.events.subscribe("A").__aenter__()
    async with RedisStore.from_url(permit(server, "", "&__keyspace@0__:room:*"), settings) as store:
        async with store.events.subscribe("A") as events:
            await node.set("room:A", to_wire(room("A")))
            assert await on_message(store, events) == [CHANGED]


async def look(server: RedisServer, flags: str, *, wanted: bool, url: str = "") -> tuple[HealthReport, str, str, str]:
    """Return the health of a store on a server with those flags, and what it says of notifications."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        await client.config_set("notify-keyspace-events", flags)
        async with RedisStore.from_url(url or server.url, StoreSettings(notify_external_changes=wanted)) as store:
            health = await store.health()
        await client.config_set("notify-keyspace-events", "Kg$xe")
    (check,) = [one for one in health.checks if one.name == "notifications"]
    return health, check.status, check.detail, check.hint


async def test_health_says_what_is_missing(server: RedisServer) -> None:
    """Where foreign changes are asked for and can't be told, health says what is missing, and its remedy works."""
    for flags, missing in (("", "Kg$xe"), ("Kg$x", "e"), ("Eg$xe", "K"), ("Kgxe", "$")):
        health, status, found, remedy = await look(server, flags, wanted=True)
        assert (health.ok, status) == (False, "error")
        assert f"lacks {missing}" in found
        assert remedy.startswith("run CONFIG SET notify-keyspace-events with Kg$xe ")
        assert (await look(server, "Kg$xe", wanted=True))[1] == "ok"


@pytest.mark.parametrize(("flags", "protocol"), [("Kg$xe", 2), ("KEA", 3), ("KA", 2)])
async def test_health_says_that_it_is_on(server: RedisServer, flags: str, protocol: int) -> None:
    """Where the server notifies, health says so, whether it is asked for or not."""
    for wanted in (True, False):
        health, status, found, _ = await look(server, flags, wanted=wanted, url=f"{server.url}?protocol={protocol}")
        assert (health.ok, status) == (True, "ok")
        assert "can be detected" in found


async def test_health_does_not_mind_what_nobody_asks_for(server: RedisServer) -> None:
    """Where foreign changes are not asked for, it is good that they are not told, and health says what would help."""
    health, status, found, remedy = await look(server, "", wanted=False)
    assert (health.ok, status) == (True, "ok")
    assert "cannot be detected" in found
    assert "CONFIG SET notify-keyspace-events" in remedy


async def test_health_says_what_it_may_not_see(server: RedisServer) -> None:
    """A user who may not ask for the server's configuration is told what to grant."""
    for wanted, expected in ((True, "unknown"), (False, "ok")):
        _, status, _, remedy = await look(server, "", wanted=wanted, url=permit(server))
        assert status == expected
        assert ("+config|get" in remedy) is wanted
