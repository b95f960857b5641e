"""Clauses about races: each pair of operations on one id has the results of one of its two serial orders.

The store itself gives the serial results: each pair runs one after the other, in both orders, on separate ids. Then
both run at the same time, the second one started after a fixed number of steps of the event loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest

from wnc_store import ChatMessage, RateLimitDecision, Room, Store, VideoState
from wnc_store_contract.calls import like
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import KeyedCall, change_name, json_text, observe

DELAYS = (0, 1, 3)
"""The numbers of steps of the event loop by which the second operation begins later."""

_AT_ONCE = 50
"""The number of reads that are sent at the same time."""


async def _create_party(store: Store, key: str) -> None:
    await store.rooms.create_room(room(key, "host", "guest"))


async def _create_lonely(store: Store, key: str) -> None:
    await store.rooms.create_room(room(key))


async def _create_nothing(store: Store, key: str) -> None:
    """The id stays unused."""


async def _create_chat(store: Store, key: str) -> None:
    for number in (0, 1):
        await store.chat.add_message(message(number, key))


async def _create_full(store: Store, key: str) -> None:
    await store.rooms.create_room(room(key))
    for number in range(20):
        await store.chat.add_message(message(100 + number, key))


async def _acquire_one(store: Store, key: str) -> None:
    await store.connections.acquire(key, "c1")


async def _acquire_two(store: Store, key: str) -> None:
    for connection_id in ("c1", "c2"):
        await store.connections.acquire(key, connection_id)


async def _hit_once(store: Store, key: str) -> None:
    await store.rate_limits.hit(key)


ROOM_WRITES: Mapping[str, KeyedCall] = {
    "create_room": lambda s, k: s.rooms.create_room(room(k, "creator", "other")),
    "update_room": lambda s, k: s.rooms.update_room(k, room(k, "new", "guest", host_token="another")),
    "edit_room": lambda s, k: s.rooms.edit_room(k, change_name),
    "delete_room": lambda s, k: s.rooms.delete_room(k),
    "a join": lambda s, k: s.rooms.add_user_to_room(k, user("new")),
    "a rejoin of the guest": lambda s, k: s.rooms.add_user_to_room(k, user("guest", name="Again")),
    "the leave of the guest": lambda s, k: s.rooms.remove_user_from_room(k, "guest"),
    "the leave of the host": lambda s, k: s.rooms.remove_user_from_room(k, "host"),
    "transfer_host": lambda s, k: s.rooms.transfer_host(k, "guest"),
    "update_video_state": lambda s, k: s.rooms.update_video_state(k, VideoState(current_time=7)),
    "set_video_url": lambda s, k: s.rooms.set_video_url(k, "https://video.example/1"),
}
CHAT_WRITES: Mapping[str, KeyedCall] = {
    "a message": lambda s, k: s.chat.add_message(message(1, k)),
    "the same message with another text": lambda s, k: s.chat.add_message(message(1, k, message="other")),
    "another message": lambda s, k: s.chat.add_message(message(2, k)),
    "clear_messages": lambda s, k: s.chat.clear_messages(k),
}
MESSAGE_WRITES: Mapping[str, KeyedCall] = {
    "an edit": lambda s, k: s.chat.edit_message(k, "m1", like),
    "an edit of another message": lambda s, k: s.chat.edit_message(k, "m0", like),
    "a removal": lambda s, k: s.chat.remove_message(k, "m1"),
}
LEASE_WRITES: Mapping[str, KeyedCall] = {
    "acquire of c1": lambda s, k: s.connections.acquire(k, "c1", limit=2),
    "acquire of c2": lambda s, k: s.connections.acquire(k, "c2", limit=2),
    "acquire of c3": lambda s, k: s.connections.acquire(k, "c3", limit=2),
    "release of c1": lambda s, k: s.connections.release(k, "c1"),
    "release of c2": lambda s, k: s.connections.release(k, "c2"),
}
WINDOW_WRITES: Mapping[str, KeyedCall] = {
    "a hit": lambda s, k: s.rate_limits.hit(k),
    "a hit of 2": lambda s, k: s.rate_limits.hit(k, 2),
    "reset": lambda s, k: s.rate_limits.reset(k),
}


@dataclass(frozen=True)
class Pair:
    """Two operations and the state in which they start, as a name, a preparation and the operations by name."""

    start: str
    prepare: KeyedCall
    first: tuple[str, KeyedCall]
    second: tuple[str, KeyedCall]


def pairs(start: str, prepare: KeyedCall, writes: Mapping[str, KeyedCall]) -> Iterator[Pair]:
    """Return every ordered pair of writes."""
    for first, second in product(writes.items(), repeat=2):
        yield Pair(start, prepare, first, second)


async def outcome(operation: Awaitable[object]) -> object:
    """Return a result without what differs between ids, or the name of an error."""
    try:
        result = await operation
    except Exception as error:  # noqa: BLE001 - any error is a result
        return type(error).__name__
    if isinstance(result, Room | ChatMessage):
        return plain(json_text(result))
    if isinstance(result, RateLimitDecision):
        return (result.allowed, result.remaining)
    return result


def plain(text: str) -> object:
    """Return JSON without the id of the room and the time of its video state."""
    value: Any = json.loads(text)
    for name in ("id", "roomId"):
        if name == "roomId" or "users" in value:
            value.pop(name, None)
    if "videoState" in value:
        value["videoState"].pop("lastUpdateTime")
    return value


async def settled(context: ContractContext, store: Store, key: str) -> Mapping[str, object]:
    """Return what a client sees of an id, without what differs between ids."""
    seen = await observe(store, key, context.harness.capabilities)
    text, hours = cast("tuple[str | None, int | None]", seen["room"])
    seen["room"] = (None if text is None else plain(text), hours)
    if "chat" in seen:
        texts, hours = cast("tuple[list[str], int | None]", seen["chat"])
        seen["chat"] = ([plain(entry) for entry in texts], hours)
    return seen


async def in_chunks(count: int, make: Callable[[int], Awaitable[object]]) -> Sequence[object]:
    """Return the results of calls by number, of which a few run at the same time."""
    results: list[object] = []
    for start in range(0, count, _AT_ONCE):
        results += await asyncio.gather(*map(make, range(start, min(start + _AT_ONCE, count))))
    return results


async def assert_serializable(context: ContractContext, every_pair: Sequence[Pair], clients: int) -> None:
    """Assert that pairs of operations, run at the same time, behave as one after the other.

    Args:
        context: The context of the clause.
        every_pair: The pairs.
        clients: 1 if one client runs both operations, 2 if two clients run one each.
    """
    opened = [await context.open(rate_limit_max=3) for _ in range(clients)]
    first, second = opened[0], opened[-1]

    async def prepare(number: int) -> None:
        pair = every_pair[number]
        for name in ("serial", *DELAYS):
            await pair.prepare(first, f"{name}-{number}")

    await in_chunks(len(every_pair), prepare)
    serial: dict[tuple[str, str, str], list[object]] = {}
    for number, pair in enumerate(every_pair):
        results = [await outcome(pair.first[1](first, f"serial-{number}"))]
        results.append(await outcome(pair.second[1](second, f"serial-{number}")))
        serial[pair.start, pair.first[0], pair.second[0]] = results
    observed = await in_chunks(len(every_pair), lambda number: settled(context, first, f"serial-{number}"))
    expected = dict(zip(serial, zip(serial.values(), observed, strict=True), strict=True))
    runs: list[tuple[Pair, str, list[object]]] = []
    for number, pair in enumerate(every_pair):
        for delay in DELAYS:
            key = f"{delay}-{number}"
            started = asyncio.ensure_future(outcome(pair.first[1](first, key)))
            for _ in range(delay):
                await asyncio.sleep(0)
            if delay and started.done():
                break  # it no longer runs at the same time
            results = [*await asyncio.gather(started, outcome(pair.second[1](second, key)))]
            runs.append((pair, key, results))
    observed = await in_chunks(len(runs), lambda number: settled(context, second, runs[number][1]))
    for (pair, key, results), after in zip(runs, observed, strict=True):
        one, other = pair.first[0], pair.second[0]
        in_order = expected[pair.start, one, other]
        reverse_results, state = expected[pair.start, other, one]
        reverse = ([*reversed(reverse_results)], state)
        if (results, after) not in (in_order, reverse):
            pytest.fail(
                f"{one} and {other} {pair.start}, the second {key.partition('-')[0]} steps later: "
                f"expected {in_order} or {reverse}, got {results, after}",
                pytrace=False,
            )


def room_pairs(context: ContractContext) -> Sequence[Pair]:
    """Return the pairs of writes of a room and its chat."""
    writes, chat_writes = dict(ROOM_WRITES), dict[str, KeyedCall]()
    if Capability.CHAT in context.harness.capabilities:
        writes |= CHAT_WRITES
        chat_writes = {**CHAT_WRITES, **MESSAGE_WRITES, "delete_room": ROOM_WRITES["delete_room"]}

    def some(*names: str) -> Mapping[str, KeyedCall]:
        return {name: writes[name] for name in names if name in writes}

    in_room_of_one = ("the leave of the host", "a join", "delete_room", "edit_room", "a message", "another message")
    return [
        *pairs("in a room of two", _create_party, some(*(name for name in writes if name != "another message"))),
        *pairs("in a room of one", _create_lonely, some(*in_room_of_one)),
        *pairs("in a chat", _create_chat, chat_writes),
        *pairs("without a room", _create_nothing, some("create_room", "a join", "delete_room", "a message")),
    ]


def lease_pairs() -> Sequence[Pair]:
    """Return the pairs of writes of the leases of a key."""
    return [
        *pairs("with one lease", _acquire_one, LEASE_WRITES),
        *pairs("with two leases", _acquire_two, LEASE_WRITES),
        *pairs("without leases", _create_nothing, LEASE_WRITES),
    ]


def window_pairs() -> Sequence[Pair]:
    """Return the pairs of writes of the hits of a key."""
    return [
        *pairs("in a window", _hit_once, WINDOW_WRITES),
        *pairs("without a window", _create_nothing, WINDOW_WRITES),
    ]


def reads(context: ContractContext, store: Store) -> Mapping[str, Callable[[str], Awaitable[object]]]:
    """Return the reads of a room and its chat, without what differs between ids."""

    async def read_room(key: str) -> object:
        stored = await store.rooms.get_room(key)
        return None if stored is None else plain(json_text(stored))

    async def has_room_ttl(key: str) -> bool:
        return await store.rooms.room_ttl(key) is not None

    async def read_chat(key: str) -> object:
        return [plain(json_text(entry)) for entry in await store.chat.get_messages(key)]

    async def has_chat_ttl(key: str) -> bool:
        return await store.chat.chat_ttl(key) is not None

    of_room = {"get_room": read_room, "room_exists": store.rooms.room_exists, "room_ttl": has_room_ttl}
    of_chat = {"get_messages": read_chat, "chat_ttl": has_chat_ttl}
    return {**of_room, **of_chat} if Capability.CHAT in context.harness.capabilities else of_room


async def assert_complete(
    context: ContractContext, start: str, prepare: KeyedCall, writes: Mapping[str, KeyedCall]
) -> None:
    """Assert that reads during a write return the state before it and then, from one read on, the state after it."""
    writer = await context.open()
    reader = await context.open() if Capability.SHARED in context.harness.capabilities else writer
    calls = reads(context, reader)
    for number, (name, write) in enumerate(writes.items()):
        model, key = (f"{kind}-{number}-{start.replace(' ', '-')}" for kind in ("model", "seen"))
        for prepared in (model, key):
            await prepare(writer, prepared)
        before = {call: await read(model) for call, read in calls.items()}
        await outcome(write(writer, model))
        after = {call: await read(model) for call, read in calls.items()}
        running, has_begun, has_ended = asyncio.ensure_future(outcome(write(writer, key))), False, False
        while not has_ended:
            has_ended = running.done()
            for call, read in calls.items():
                found = await read(key)
                has_begun = has_begun or found != before[call]
                expected = after[call] if has_begun or has_ended else before[call]
                assert found == expected, f"{call} while {name} {start} runs"
            await asyncio.sleep(0)


class RaceClauses:
    """Clauses with every pair of writes, in one client and in two, and with every write and a reader."""

    @clause()
    async def test_any_two_writes_of_a_room_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of a room and its chat in one client have the results of one after the other."""
        await assert_serializable(context, room_pairs(context), clients=1)

    @clause(Capability.SHARED)
    async def test_any_two_writes_of_a_room_by_two_clients_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of a room and its chat by two clients have the results of one after the other."""
        await assert_serializable(context, room_pairs(context), clients=2)

    @clause(Capability.CONNECTIONS)
    async def test_any_two_writes_of_leases_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of the leases of a key in one client have the results of one after the other."""
        await assert_serializable(context, lease_pairs(), clients=1)

    @clause(Capability.CONNECTIONS, Capability.SHARED)
    async def test_any_two_writes_of_leases_by_two_clients_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of the leases of a key by two clients have the results of one after the other."""
        await assert_serializable(context, lease_pairs(), clients=2)

    @clause(Capability.RATE_LIMITS)
    async def test_any_two_writes_of_hits_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of the hits of a key in one client have the results of one after the other."""
        await assert_serializable(context, window_pairs(), clients=1)

    @clause(Capability.RATE_LIMITS, Capability.SHARED)
    async def test_any_two_writes_of_hits_by_two_clients_are_serializable(self, context: ContractContext) -> None:
        """Any two writes of the hits of a key by two clients have the results of one after the other."""
        await assert_serializable(context, window_pairs(), clients=2)

    @clause()
    async def test_any_write_is_complete_to_readers(self, context: ContractContext) -> None:
        """Once a reader has seen any effect of a write of a room and its chat, it sees the complete write."""
        await assert_complete(context, "in a room of two", _create_party, ROOM_WRITES)
        if Capability.CHAT in context.harness.capabilities:
            await assert_complete(context, "in a room with a full chat", _create_full, {**ROOM_WRITES, **CHAT_WRITES})
            await assert_complete(context, "in a chat", _create_chat, MESSAGE_WRITES)
