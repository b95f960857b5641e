"""Clauses about the store: health, close, key prefixes and undeclared capabilities."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from wnc_store import ConfigurationError, NotSupportedError, Room, StoreClosedError, StoreError
from wnc_store_contract.calls import (
    Call,
    all_raise,
    chat_calls,
    connection_calls,
    event_calls,
    rate_limit_calls,
    room_calls,
)
from wnc_store_contract.clause import PATIENCE, ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability


class StoreClauses:
    """Clauses about all parts of a store."""

    @clause()
    async def test_ping_succeeds(self, context: ContractContext) -> None:
        """A ping returns if the store is available."""
        store = await context.open()
        await store.ping()
        assert store.closed is False

    @clause()
    async def test_health_reports_a_working_store(self, context: ContractContext) -> None:
        """The health of an available store contains an ok ping, a round trip and no error, and can be serialized."""
        store = await context.open()
        health = await store.health()
        assert health.round_trip_ms is not None
        assert health.round_trip_ms >= 0
        assert health.backend.isidentifier()
        assert all(check.detail for check in health.checks)
        assert [check.status for check in health.checks if check.name == "ping"] == ["ok"]
        # A server that does not provide some information, such as a fake one, is not ok.
        assert [check for check in health.checks if check.status == "error"] == []
        assert json.loads(json.dumps(health.to_json()))["ok"] is health.ok

    @clause()
    async def test_closed_rooms_raise(self, context: ContractContext) -> None:
        """Every method of a closed store and of its rooms raises StoreClosedError."""
        store = await context.open()
        await store.rooms.create_room(room())
        rooms = store.rooms
        await store.aclose()
        assert store.closed is True
        calls = [*room_calls(rooms, "A3X9K2"), lambda: rooms.create_room_with_code(user("host"))]
        await all_raise(StoreClosedError, [store.ping, store.health, *calls])

    @clause(Capability.LISTING)
    async def test_closed_listings_raise(self, context: ContractContext) -> None:
        """Listing and sweeping on a closed store raise StoreClosedError, also if the listing began before."""
        store = await context.open()
        for room_id in ("A", "B"):
            await store.rooms.create_room(room(room_id))
        begun, begun_rooms = aiter(store.rooms.active_room_ids()), aiter(store.rooms.active_rooms())
        await anext(begun)
        await anext(begun_rooms)
        await store.aclose()
        with pytest.raises(StoreClosedError):
            await anext(begun)
        with pytest.raises(StoreClosedError):
            await anext(aiter(store.rooms.active_room_ids()))
        with pytest.raises(StoreClosedError):
            await anext(begun_rooms)
        with pytest.raises(StoreClosedError):
            await anext(aiter(store.rooms.active_rooms()))
        with pytest.raises(StoreClosedError):
            await store.rooms.sweep_active_rooms()

    @clause(Capability.CHAT)
    async def test_closed_chats_raise(self, context: ContractContext) -> None:
        """Every method of a closed store's chat raises StoreClosedError."""
        store = await context.open()
        chat = store.chat
        await store.aclose()
        await all_raise(StoreClosedError, chat_calls(chat, "A3X9K2"))

    @clause(Capability.CONNECTIONS)
    async def test_closed_connections_raise(self, context: ContractContext) -> None:
        """Every method of a closed store's connections raises StoreClosedError."""
        store = await context.open()
        await store.aclose()
        await all_raise(StoreClosedError, connection_calls(store.connections, "ip", "c1"))

    @clause(Capability.RATE_LIMITS)
    async def test_closed_rate_limits_raise(self, context: ContractContext) -> None:
        """Every method of a closed store's rate limits raises StoreClosedError."""
        store = await context.open()
        await store.aclose()
        await all_raise(StoreClosedError, rate_limit_calls(store.rate_limits, "ip"))

    @clause()
    async def test_closing_twice_has_no_effect(self, context: ContractContext) -> None:
        """Closing a closed store has no effect."""
        store = await context.open()
        await store.aclose()
        await store.aclose()
        assert store.closed is True

    @clause()
    async def test_a_rejected_close_changes_nothing(self, context: ContractContext) -> None:
        """Closing a store in another event loop closes it, or raises a StoreError and leaves it open."""
        store = await context.open()
        await store.rooms.create_room(room())
        elsewhere = ThreadPoolExecutor()
        try:
            elsewhere.submit(asyncio.run, store.aclose()).result(PATIENCE)
        except StoreError:
            assert store.closed is False
            assert await store.rooms.room_exists("A3X9K2") is True
        else:
            assert store.closed is True
        finally:
            elsewhere.shutdown(wait=False)
        await store.aclose()
        assert store.closed is True

    @clause()
    async def test_closing_ends_running_calls(self, context: ContractContext) -> None:
        """Calls that run while the store is closed succeed or raise a StoreError; none hangs."""
        for steps in range(8):
            store = await context.open()
            await store.rooms.create_room(room(f"r{steps}"))
            calls = [asyncio.ensure_future(call()) for call in room_calls(store.rooms, f"r{steps}")]
            for _ in range(steps):
                await asyncio.sleep(0)
            await store.aclose()
            ended, hanging = await asyncio.wait(calls, timeout=PATIENCE)
            assert not hanging
            errors = [call.exception() for call in ended]
            assert [error for error in errors if error and not isinstance(error, StoreError)] == []

    @clause(Capability.SHARED)
    async def test_closing_one_client_keeps_the_other_open(self, context: ContractContext) -> None:
        """Closing one client does not affect another client of the same data."""
        first, second = await context.open(), await context.open()
        await first.rooms.create_room(room())
        await first.aclose()
        assert await second.rooms.room_exists("A3X9K2") is True

    @clause(Capability.SHARED)
    async def test_clients_may_differ_in_settings(self, context: ContractContext) -> None:
        """The TTL of a room is that of the client that wrote it last."""
        first, second = await context.open(), await context.open(room_ttl=timedelta(hours=1))
        await first.rooms.create_room(room())
        await second.rooms.add_user_to_room("A3X9K2", user("guest"))
        await context.advance(3600)
        assert await first.rooms.room_exists("A3X9K2") is False

    @clause(Capability.SHARED)
    async def test_prefixes_separate_rooms(self, context: ContractContext) -> None:
        """Stores with different key prefixes do not share rooms."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await app.rooms.create_room(room())
        assert await app2.rooms.get_room("A3X9K2") is None
        await app2.rooms.delete_room("A3X9K2")
        await app2.rooms.create_room(room("A3X9K2", "other"))
        stored = await app.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.host_id == "host"

    @clause(Capability.SHARED, Capability.CHAT)
    async def test_prefixes_separate_chats(self, context: ContractContext) -> None:
        """Stores with different key prefixes do not share chats."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await app.chat.add_message(message(1))
        assert await app2.chat.get_messages("A3X9K2") == []
        await app2.chat.clear_messages("A3X9K2")
        assert [entry.id for entry in await app.chat.get_messages("A3X9K2")] == ["m1"]

    @clause(Capability.SHARED, Capability.CONNECTIONS)
    async def test_prefixes_separate_connections(self, context: ContractContext) -> None:
        """Stores with different key prefixes do not share connection counts."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await app.connections.acquire("ip", "c1")
        assert await app2.connections.count("ip") == 0
        await app2.connections.release("ip", "c1")
        assert await app.connections.count("ip") == 1

    @clause(Capability.SHARED, Capability.RATE_LIMITS)
    async def test_prefixes_separate_rate_limits(self, context: ContractContext) -> None:
        """Stores with different key prefixes do not share rate limits."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        hit = await app.rate_limits.hit("ip")
        assert (await app2.rate_limits.peek("ip")).remaining == hit.remaining + 1
        await app2.rate_limits.reset("ip")
        assert (await app.rate_limits.peek("ip")).remaining == hit.remaining

    @clause(Capability.SHARED, Capability.LISTING)
    async def test_prefixes_separate_listings(self, context: ContractContext) -> None:
        """A store lists only the rooms with its key prefix, even if another prefix starts with it."""
        app, app2 = await context.open(key_prefix="app:"), await context.open(key_prefix="app:2")
        await app.rooms.create_room(room("A"))
        await app2.rooms.create_room(room("B"))
        await app2.rooms.sweep_active_rooms()
        assert "A" not in [room_id async for room_id in app2.rooms.active_room_ids()]
        assert "B" not in [room_id async for room_id in app.rooms.active_room_ids()]
        assert "A" in [room_id async for room_id in app.rooms.active_room_ids()]

    @clause()
    async def test_publish_changes_requires_events(self, context: ContractContext) -> None:
        """A store without events raises ConfigurationError if publish_changes is set."""
        if Capability.EVENTS in context.harness.capabilities:
            await context.open(publish_changes=True)
        else:
            with pytest.raises(ConfigurationError, match="publish_changes"):
                context.harness.open_store(publish_changes=True)

    @clause()
    async def test_undeclared_capabilities_raise(self, context: ContractContext) -> None:
        """Methods of a capability that the harness does not declare raise NotSupportedError."""
        store = await context.open()

        async def list_rooms() -> list[str]:
            return [room_id async for room_id in store.rooms.active_room_ids()]

        async def read_rooms() -> list[Room]:
            return [one async for one in store.rooms.active_rooms()]

        parts: dict[Capability, Callable[[], Sequence[Call]]] = {
            Capability.CHAT: lambda: chat_calls(store.chat, "A3X9K2"),
            Capability.LISTING: lambda: (list_rooms, read_rooms, store.rooms.sweep_active_rooms),
            Capability.EVENTS: lambda: event_calls(store.events, "A3X9K2"),
            Capability.CONNECTIONS: lambda: connection_calls(store.connections, "ip", "c1"),
            Capability.RATE_LIMITS: lambda: rate_limit_calls(store.rate_limits, "ip"),
        }
        declared = context.harness.capabilities
        for capability in (part for part in parts if part not in declared):
            for call in parts[capability]():
                try:
                    await call()
                except NotSupportedError:
                    continue
                pytest.fail(
                    f"the store supports {capability.value}, but the harness does not declare it: "
                    f"add Capability.{capability.name} to {type(context.harness).__name__}.capabilities"
                )
