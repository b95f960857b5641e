"""Clauses about isolation: no operation touches another id, part, key prefix or client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from wnc_store import AppEvent, LimitExceededError, Resync, RoomNotFoundError, Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.events import drain, event_range, next_event, publish_and_receive
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import MAX_ROOM_BYTES, Operation, available, change_name, forget, observe, prepare

DAY = timedelta(days=1)
SIX_HOURS = 6 * 3600
SETTINGS: Mapping[str, Any] = {
    "max_room_bytes": MAX_ROOM_BYTES,
    "connection_ttl": DAY,
    "rate_limit_window": DAY,
    "rate_limit_max": 100,
}
"""All TTLs are equal, so that one advance of the time makes every renewal visible."""

NEIGHBOURS = ("{}0", "{}x", "{}:", "x{}", "{}:room", "room:{}", "chat:{}", "rl:{}", "connections:{}")
"""Ids that resemble another id, or contain it as a key may."""


async def prepare_operations(context: ContractContext, store: Store) -> Mapping[str, Operation]:
    """Return an id for each available operation. Its keys were written six hours ago."""
    capabilities = context.harness.capabilities
    operations = {f"T{number}": operation for number, operation in enumerate(available(capabilities))}
    for key in operations:
        await prepare(store, key, capabilities)
    await context.advance(SIX_HOURS)
    return operations


async def observe_all(
    context: ContractContext, store: Store, keys: Sequence[str]
) -> Mapping[str, Mapping[str, object]]:
    """Return what a client sees of each id."""
    capabilities = context.harness.capabilities
    seen = await asyncio.gather(*(observe(store, key, capabilities) for key in keys))
    return dict(zip(keys, seen, strict=True))


class IsolationClauses:
    """Clauses that make every operation and observe what it must not touch."""

    @clause()
    async def test_an_operation_touches_only_its_id(self, context: ContractContext) -> None:
        """No operation on an id changes the room, chat, leases, hits or TTLs of another id."""
        store, capabilities = await context.open(**SETTINGS), context.harness.capabilities
        operations = available(capabilities)
        others = [neighbour.format("T") for neighbour in NEIGHBOURS]
        for key in others:
            await prepare(store, key, capabilities)
        await context.advance(SIX_HOURS)
        before = await observe_all(context, store, others)
        for operation in operations:
            await prepare(store, "T", capabilities)
            await operation.run(store, "T")
            after = await observe_all(context, store, others)
            for key in others:
                assert after[key] == before[key], f"{operation.name} on 'T' changed {key!r}"
            await forget(store, "T", capabilities)

    @clause()
    async def test_an_operation_touches_only_its_part(self, context: ContractContext) -> None:
        """An operation on a room, chat, connection key or rate limit leaves the other parts of the id unchanged."""
        store, capabilities = await context.open(**SETTINGS), context.harness.capabilities
        operations = await prepare_operations(context, store)
        before = await observe_all(context, store, [*operations])
        for key, operation in operations.items():
            await operation.run(store, key)
            after = await observe(store, key, capabilities)
            for part, value in after.items():
                is_changed = value != before[key][part]
                renews_lease = part == "lease" and operation.effects.get(part) == "renews"  # not visible in a count
                assert is_changed is (part in operation.effects and not renews_lease), (
                    f"{operation.name} left the {part}: {value!r}, before: {before[key][part]!r}"
                )

    @clause(Capability.SHARED)
    async def test_an_operation_touches_only_its_prefix(self, context: ContractContext) -> None:
        """No operation of a store changes anything under the same id and another key prefix."""
        capabilities = context.harness.capabilities
        store = await context.open(key_prefix="app:", **SETTINGS)
        others = {prefix: await context.open(key_prefix=prefix, **SETTINGS) for prefix in ("", "app", "app:2:", "x:")}
        for other in others.values():
            await prepare(other, "T", capabilities)
        await context.advance(SIX_HOURS)
        before = {prefix: await observe(other, "T", capabilities) for prefix, other in others.items()}
        for operation in available(capabilities):
            await prepare(store, "T", capabilities)
            await operation.run(store, "T")
            after = await asyncio.gather(*(observe(other, "T", capabilities) for other in others.values()))
            for prefix, value in zip(others, after, strict=True):
                assert value == before[prefix], f"{operation.name} under 'app:' changed prefix {prefix!r}"
            await forget(store, "T", capabilities)

    @clause(Capability.EVENTS)
    async def test_an_operation_publishes_only_to_its_room(self, context: ContractContext) -> None:
        """No operation publishes an event to the subscribers of another room."""
        store, capabilities = await context.open(publish_changes=True, **SETTINGS), context.harness.capabilities
        others = [neighbour.format("T") for neighbour in NEIGHBOURS]
        for key in others:
            await prepare(store, key, capabilities)
        async with AsyncExitStack() as stack:
            streams = {key: await stack.enter_async_context(store.events.subscribe(key)) for key in others}
            for operation in available(capabilities):
                await prepare(store, "T", capabilities)
                await operation.run(store, "T")
                for key, events in streams.items():
                    received = await drain(store, events, key)
                    assert received == [], f"{operation.name} on 'T' published to {key!r}"
                await forget(store, "T", capabilities)

    @clause(Capability.SHARED, Capability.EVENTS)
    async def test_an_operation_publishes_only_to_its_prefix(self, context: ContractContext) -> None:
        """No operation publishes an event to the subscribers of the same room under another key prefix."""
        capabilities = context.harness.capabilities
        store = await context.open(key_prefix="app:", publish_changes=True, **SETTINGS)
        other = await context.open(key_prefix="app:2:", publish_changes=True, **SETTINGS)
        async with other.events.subscribe("T") as events:
            for operation in available(capabilities):
                await prepare(store, "T", capabilities)
                await operation.run(store, "T")
                received = await drain(other, events, "T")
                assert received == [], f"{operation.name} under 'app:' published under 'app:2:'"
                await forget(store, "T", capabilities)

    @clause(Capability.SHARED)
    async def test_settings_affect_only_their_client(self, context: ContractContext) -> None:
        """Each client applies its own TTLs and limits, even if other clients were opened or used after it."""
        capabilities = context.harness.capabilities
        short = timedelta(hours=6)
        small = {
            "room_ttl": short,
            "chat_ttl": short,
            "connection_ttl": short,
            "rate_limit_window": short,
            "chat_history_limit": 1,
            "rate_limit_max": 5,
            "max_message_length": 6,
            "max_name_length": 13,
            "max_url_length": 20,
            "max_users_per_room": 2,
            "max_room_bytes": 1000,
        }
        large = {**SETTINGS, "chat_history_limit": 3}
        clients = [await context.open(**large), await context.open(**small), await context.open(**large)]
        expected = [(24, 3, 99), (6, 1, 4), (24, 3, 99)]
        for number, (store, (hours, kept, remaining)) in enumerate(zip(clients, expected, strict=True)):
            key = f"T{number}"
            await prepare(store, key, capabilities)
            if Capability.CHAT in capabilities:
                for extra in (3, 4):
                    await store.chat.add_message(message(extra, key))
            seen = await observe(store, key, capabilities)
            room_seen: Any = seen["room"]
            assert room_seen[1] == hours, f"client {number} has a room_ttl of {hours} hours"
            if Capability.CHAT in capabilities:
                chat_seen: Any = seen["chat"]
                assert (len(chat_seen[0]), chat_seen[1]) == (kept, hours), (
                    f"client {number} keeps {kept} messages for {hours} hours"
                )
            if Capability.RATE_LIMITS in capabilities:
                assert seen["window"] == (remaining + 1, remaining, hours), (
                    f"client {number} allows {remaining + 1} hits in {hours} hours"
                )
        for number, store in enumerate(clients):
            await _assert_limits(context, store, f"T{number}", is_small=number == 1)
        if Capability.CONNECTIONS in capabilities:
            await context.advance(SIX_HOURS)
            assert [await clients[0].connections.count(f"T{number}") for number in range(3)] == [1, 0, 1]

    @clause(Capability.SHARED, Capability.EVENTS)
    async def test_event_settings_affect_only_their_client(self, context: ContractContext) -> None:
        """Each client applies its own publish_changes, max_event_bytes and events_queue_size."""
        first = await context.open(publish_changes=True)
        small = await context.open(max_event_bytes=1024, events_queue_size=3)
        last = await context.open(publish_changes=True)
        async with first.events.subscribe(ROOM) as events:
            for number, store in enumerate((first, small, last)):
                await store.rooms.create_room(room(ROOM, f"u{number}"))
                await store.rooms.edit_room(ROOM, change_name)
                await store.rooms.delete_room(ROOM)
            changes = await drain(first, events)
            assert [event.room_id for event in changes] == [ROOM] * 6, "the client without publish_changes published"
            large = AppEvent(room_id=ROOM, name="large", value="x" * 1024)
            with pytest.raises(LimitExceededError):
                await small.events.publish(ROOM, large)
            for store in (first, last):
                await store.events.publish(ROOM, large)
            assert await drain(first, events) == [large, large]
        async with (
            first.events.subscribe(ROOM) as long,
            small.events.subscribe(ROOM) as quick,
            small.events.subscribe(ROOM) as slow,
        ):
            await publish_and_receive(small, quick, 1, 6)
            assert [await next_event(slow) for _ in range(4)] == [*event_range(1, 3), Resync(room_id=ROOM)]
            assert await drain(first, long) == event_range(1, 6)

    @clause(Capability.CHAT)
    async def test_the_chat_of_a_missing_room_is_kept(self, context: ContractContext) -> None:
        """Reads, writes that find no room, and a refused create_room do not change the chat of the missing room."""
        store = await context.open()
        rooms, sent = store.rooms, [message(1), message(2)]
        for entry in sent:
            await store.chat.add_message(entry)
        assert await rooms.get_room(ROOM) is None
        assert await rooms.room_exists(ROOM) is False
        assert await rooms.remove_user_from_room(ROOM, "host") is None
        refused: tuple[tuple[type[Exception], Callable[[], Awaitable[object]]], ...] = (
            (RoomNotFoundError, lambda: rooms.update_room(ROOM, room())),
            (RoomNotFoundError, lambda: rooms.add_user_to_room(ROOM, user("host"))),
            (LimitExceededError, lambda: rooms.create_room(room(host_name="x" * 257))),
            (ValueError, lambda: rooms.create_room(room().model_copy(update={"host_name": 5}))),
        )
        for error, call in refused:
            with pytest.raises(error):
                await call()
        assert await store.chat.get_messages(ROOM) == sent

    @clause(Capability.SHARED)
    async def test_data_outlives_its_client(self, context: ContractContext) -> None:
        """Rooms, messages, leases and hits do not end when the client that wrote them closes."""
        capabilities = context.harness.capabilities
        writer = await context.open()
        await prepare(writer, ROOM, capabilities)
        before = await observe(writer, ROOM, capabilities)
        await writer.aclose()
        assert await observe(await context.open(), ROOM, capabilities) == before


async def _assert_limits(context: ContractContext, store: Store, key: str, *, is_small: bool) -> None:
    """Assert that a client refuses values beyond its limits, or accepts them if its limits are large."""
    calls = [
        lambda: store.rooms.set_video_url(key, "https://video.example/123456"),
        lambda: store.rooms.edit_room(key, lambda before: before.replace(host_name="x" * 14)),
        lambda: store.rooms.add_user_to_room(key, user("new", name="x" * 12)),
        lambda: store.rooms.create_room(room(f"{key}-large", "a", notes="x" * 1000)),
    ]
    if Capability.CHAT in context.harness.capabilities:
        calls.append(lambda: store.chat.add_message(message(9, key, message="1234567")))
    for call in calls:
        if is_small:
            with pytest.raises(LimitExceededError):
                await call()
        else:
            await call()
