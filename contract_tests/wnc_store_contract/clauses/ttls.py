"""Clauses about the TTL of everything that is stored, after every operation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from wnc_store import Store
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.isolation import SETTINGS, SIX_HOURS, prepare_operations
from wnc_store_contract.factories import ROOM, message, room
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import Operation, observe, prepare

DAY = 24 * 3600
TTL_SETTINGS = ("room_ttl", "chat_ttl", "connection_ttl", "rate_limit_window")
CountAll = Callable[[Iterable[str]], Awaitable[Mapping[str, int]]]
"""Returns how much of a part is live under each of the ids: 0 if it has expired."""


def count_each(count: Callable[[str], Awaitable[int]]) -> CountAll:
    """Return a function that counts what is live under each id. The counts run concurrently."""

    async def count_all(keys: Iterable[str]) -> Mapping[str, int]:
        keys = list(keys)
        return dict(zip(keys, await asyncio.gather(*map(count, keys)), strict=True))

    return count_all


def without_ttls(observed: Mapping[str, Any]) -> Mapping[str, object]:
    """Return what was observed of an id without the TTL, which is the last of the values of a part."""
    return {part: value if part == "lease" else value[:-1] for part, value in observed.items()}


async def find_margin(context: ContractContext, store: Store) -> float:
    """Return how many seconds before its end a TTL can be checked: one millisecond if time passes only by `advance`."""
    await store.rooms.create_room(room("clock"))
    before = await store.rooms.room_ttl("clock")
    await asyncio.sleep(0.01)
    await context.advance(0)
    return 0.001 if await store.rooms.room_ttl("clock") == before else 60


async def assert_expiries(
    context: ContractContext, store: Store, part: str, count_all: CountAll, renewed: Mapping[str, int]
) -> None:
    """Make every operation at 6 of 24 hours, and assert when a part of each id expires.

    Args:
        context: The context of the clause.
        store: The store.
        part: The part of the ids.
        count_all: Counts what is live of the part.
        renewed: For each effect of an operation, how much of the part is live until 24 hours after the operation.
    """
    margin = await find_margin(context, store)
    operations = await prepare_operations(context, store)
    for key, operation in operations.items():
        await operation.run(store, key)
    expected = {
        key: (_old(operation, part), renewed.get(operation.effects.get(part, ""), 0))
        for key, operation in operations.items()
    }
    span = f"{margin * 1000:.0f} ms"

    async def assert_live(moment: str, live: Callable[[int, int], int]) -> None:
        counts = await count_all(operations)
        for key, operation in operations.items():
            assert counts[key] == live(*expected[key]), f"the {part} {moment}, after {operation.name} at 6 hours"

    await assert_live("at 6 hours", lambda old, new: old + new)
    await context.advance(DAY - SIX_HOURS - margin)
    await assert_live(f"{span} before 24 hours", lambda old, new: old + new)
    await context.advance(margin)
    await assert_live("at 24 hours", lambda _old, new: new)
    await context.advance(SIX_HOURS - margin)
    await assert_live(f"{span} before 30 hours", lambda _old, new: new)
    await context.advance(margin)
    await assert_live("at 30 hours", lambda _old, _new: 0)


def _old(operation: Operation, part: str) -> int:
    """Return whether the part keeps the expiry that it had before the operation."""
    return int(operation.effects.get(part) not in {"renews", "deletes"})


def assert_ttl(ttl: timedelta | None, expected: int, margin: float, call: str) -> None:
    """Assert that a TTL is exact, or a little shorter if time passes by itself."""
    passed = timedelta(0) if margin < 1 else timedelta(seconds=margin)
    assert ttl is not None
    assert timedelta(seconds=expected) - passed <= ttl <= timedelta(seconds=expected), f"the TTL after {call}"


class TtlClauses:
    """Clauses that make every operation on everything that has a TTL."""

    @clause()
    async def test_the_expiry_of_a_room_after_every_operation(self, context: ContractContext) -> None:
        """A room lives exactly room_ttl after the last operation that wrote it; no other operation changes that."""
        store = await context.open(**SETTINGS)

        async def count(key: str) -> int:
            exists = await store.rooms.room_exists(key)
            assert (await store.rooms.get_room(key) is not None) is exists
            assert (await store.rooms.room_ttl(key) is not None) is exists
            return int(exists)

        await assert_expiries(context, store, "room", count_each(count), {"renews": 1})

    @clause(Capability.LISTING)
    async def test_the_listing_of_a_room_after_every_operation(self, context: ContractContext) -> None:
        """A room is listed exactly as long as it lives, after any operation."""
        store = await context.open(**SETTINGS)

        async def count_all(_keys: Iterable[str]) -> Mapping[str, int]:
            return Counter([room_id async for room_id in store.rooms.active_room_ids()])

        await assert_expiries(context, store, "room", count_all, {"renews": 1})

    @clause(Capability.CHAT)
    async def test_the_expiry_of_a_chat_after_every_operation(self, context: ContractContext) -> None:
        """A chat lives exactly chat_ttl after the last new message; no other operation changes that."""
        store = await context.open(**SETTINGS)

        async def count(key: str) -> int:
            messages = await store.chat.get_messages(key)
            assert (await store.chat.chat_ttl(key) is not None) is bool(messages)
            return int(bool(messages))

        await assert_expiries(context, store, "chat", count_each(count), {"renews": 1})

    @clause(Capability.CONNECTIONS)
    async def test_the_expiry_of_a_lease_after_every_operation(self, context: ContractContext) -> None:
        """A lease lives exactly connection_ttl after its last acquire; no other operation changes that."""
        store = await context.open(**SETTINGS)
        await assert_expiries(context, store, "lease", count_each(store.connections.count), {"renews": 1, "adds": 1})

    @clause(Capability.RATE_LIMITS)
    async def test_the_expiry_of_a_window_after_every_operation(self, context: ContractContext) -> None:
        """A window ends exactly rate_limit_window after its first hit; no operation but reset changes that."""
        store = await context.open(**SETTINGS)

        async def count(key: str) -> int:
            decision = await store.rate_limits.peek(key)
            assert (decision.reset_after > timedelta(0)) is (decision.remaining < decision.limit)
            return int(decision.remaining < decision.limit)

        await assert_expiries(context, store, "window", count_each(count), {})

    @clause()
    async def test_ttls_are_exact_after_every_operation(self, context: ContractContext) -> None:
        """The TTL that a store returns is the full one after a write, and otherwise what is left of it."""
        store, capabilities = await context.open(**SETTINGS), context.harness.capabilities
        margin = await find_margin(context, store)
        reads = {"room": store.rooms.room_ttl}
        if Capability.CHAT in capabilities:
            reads["chat"] = store.chat.chat_ttl
        operations = await prepare_operations(context, store)
        for key, operation in operations.items():
            await operation.run(store, key)
            for part, read in reads.items():
                effect = operation.effects.get(part)
                if effect == "deletes":
                    assert await read(key) is None, f"the {part} has a TTL after {operation.name}"
                else:
                    assert_ttl(await read(key), DAY if effect else DAY - SIX_HOURS, margin, f"{operation.name}: {part}")
            if Capability.RATE_LIMITS in capabilities and operation.effects.get("window") != "deletes":
                reset_after = (await store.rate_limits.peek(key)).reset_after
                assert_ttl(reset_after, DAY - SIX_HOURS, margin, f"{operation.name}: window")

    @clause()
    async def test_the_longest_ttls_are_kept(self, context: ContractContext) -> None:
        """TTLs of 36500 days, the largest that the settings allow, are kept for rooms, chats, leases and windows."""
        longest, day = timedelta(days=36500), timedelta(days=1)
        capabilities = context.harness.capabilities
        store = await context.open(**dict.fromkeys(TTL_SETTINGS, longest))
        await prepare(store, ROOM, capabilities)
        ttl = await store.rooms.room_ttl(ROOM)
        assert ttl is not None
        assert longest - day < ttl <= longest
        before = without_ttls(await observe(store, ROOM, capabilities))
        await context.advance((longest - day).total_seconds())
        after = without_ttls(await observe(store, ROOM, capabilities))
        assert after == before, "a day before its TTL of 36500 days ended, something had expired"
        await context.advance(DAY)
        assert await store.rooms.room_exists(ROOM) is False

    @clause()
    async def test_short_ttls_are_not_rounded_up(self, context: ContractContext) -> None:
        """TTLs of 250 ms end after 250 ms, for rooms, chats, leases and windows."""
        short = timedelta(milliseconds=250)
        capabilities = context.harness.capabilities
        store = await context.open(**dict.fromkeys(TTL_SETTINGS, short))
        empty = await observe(store, ROOM, capabilities)
        await prepare(store, ROOM, capabilities)
        assert (await store.rooms.room_ttl(ROOM) or short) <= short
        await context.advance(short.total_seconds())
        assert await observe(store, ROOM, capabilities) == empty

    @clause(Capability.SHARED)
    async def test_the_last_writer_sets_the_ttl(self, context: ContractContext) -> None:
        """A shorter TTL of a later client shortens what that client writes again; a window keeps its first TTL."""
        hour = timedelta(hours=1)
        first = await context.open(connection_ttl=2 * hour, rate_limit_window=2 * hour)
        second = await context.open(chat_ttl=hour, connection_ttl=hour, rate_limit_window=hour)
        capabilities = context.harness.capabilities
        for number, store in enumerate((first, second)):
            if Capability.CHAT in capabilities:
                await store.chat.add_message(message(number))
            if Capability.CONNECTIONS in capabilities:
                await store.connections.acquire("ip", "c1")
            if Capability.RATE_LIMITS in capabilities:
                await store.rate_limits.hit("ip")
        await context.advance(3600)
        if Capability.CHAT in capabilities:
            assert await first.chat.get_messages(ROOM) == []
        if Capability.CONNECTIONS in capabilities:
            assert await first.connections.count("ip") == 0
        if Capability.RATE_LIMITS in capabilities:
            decision = await first.rate_limits.peek("ip")
            assert decision.limit - decision.remaining == 2
            assert decision.reset_after > timedelta(minutes=50)
