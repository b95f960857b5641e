"""Clauses about identity: ids and texts that look alike, or are equal to a database, are different."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from wnc_store import AppEvent, ConfigurationError, LimitExceededError, Store
from wnc_store_contract.calls import like
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.events import drain
from wnc_store_contract.factories import (
    SIMILAR_IDS,
    SIMILAR_KEYS,
    SIMILAR_PREFIXES,
    SIMILAR_TEXT_IDS,
    SIMILAR_TEXTS,
    message,
    room,
    user,
)
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import forget, json_text, observe, prepare


async def all_of(calls: Sequence[Awaitable[object]]) -> Sequence[object]:
    """Return the results of concurrent reads."""
    return await asyncio.gather(*calls)


async def assert_apart(
    kind: str,
    groups: dict[str, Sequence[str]],
    write: Callable[[str, int], Awaitable[object]],
    read: Callable[[str], Awaitable[object]],
    remove: Callable[[str], Awaitable[object]],
) -> None:
    """Assert that similar ids are apart: writing or removing one changes no other one of its group.

    Args:
        kind: The kind of the ids, for messages.
        groups: The ids by the way in which they differ.
        write: Writes a number under an id.
        read: Reads the number, or a value that is false if there is none.
        remove: Removes the number.
    """
    for difference, ids in groups.items():
        for number, written in enumerate(ids, start=1):
            assert not await read(written), f"{kind} {written!r} exists before it is written ({difference})"
            await write(written, number)
        for number, removed in enumerate(ids, start=1):
            found = await all_of([read(similar) for similar in ids])
            expected = [position if position >= number else None for position in range(1, len(ids) + 1)]
            assert [value or None for value in found] == expected, f"{kind}s that differ in {difference}: {ids}"
            await remove(removed)


class IdentityClauses:
    """Clauses about ids and texts that differ in case, normalization, value, wildcards, or after many characters."""

    @clause()
    async def test_similar_room_ids_are_apart(self, context: ContractContext) -> None:
        """Rooms whose ids differ in any way are written, read and deleted separately."""
        store = await context.open()

        async def read(room_id: str) -> int:
            stored = await store.rooms.get_room(room_id)
            assert await store.rooms.room_exists(room_id) is (stored is not None)
            assert stored is None or stored.id == room_id
            return 0 if stored is None else stored.model_extra["number"]

        await assert_apart(
            "room id",
            SIMILAR_IDS,
            lambda room_id, number: store.rooms.create_room(room(room_id, number=number)),
            read,
            store.rooms.delete_room,
        )

    @clause(Capability.LISTING)
    async def test_similar_room_ids_are_listed(self, context: ContractContext) -> None:
        """Rooms whose ids differ in any way are all listed, each under its exact id."""
        store = await context.open()
        ids = {room_id for group in SIMILAR_IDS.values() for room_id in group}
        for room_id in ids:
            await store.rooms.create_room(room(room_id))
        assert sorted([room_id async for room_id in store.rooms.active_room_ids()]) == sorted(ids)

    @clause()
    async def test_similar_user_ids_are_apart(self, context: ContractContext) -> None:
        """Users whose ids differ in any way are in a room together, and join, leave and become host separately."""
        store = await context.open()
        for number, (difference, ids) in enumerate(SIMILAR_TEXT_IDS.items()):
            room_id = f"R{number}"
            await store.rooms.create_room(room(room_id))
            for user_id in ids:
                await store.rooms.add_user_to_room(room_id, user(user_id))
            for user_id in ids:
                after = await store.rooms.transfer_host(room_id, user_id)
                hosts = [member.id for member in after.users if member.is_host]
                assert (after.host_id, hosts) == (user_id, [user_id]), f"users that differ in {difference}: {ids}"
            await store.rooms.transfer_host(room_id, "host")
            for left, user_id in enumerate(ids, start=1):
                after = await store.rooms.remove_user_from_room(room_id, user_id)
                assert after is not None
                remaining = [member.id for member in after.users]
                assert remaining == ["host", *ids[left:]], f"users that differ in {difference}: {ids}"

    @clause(Capability.CHAT)
    async def test_similar_message_ids_are_apart(self, context: ContractContext) -> None:
        """Messages whose ids differ in any way are added, edited and removed separately."""
        store = await context.open()
        for number, (difference, ids) in enumerate(SIMILAR_TEXT_IDS.items()):
            for message_id in (*ids, *ids):
                await store.chat.add_message(message(1, f"R{number}", id=message_id))
            stored = [entry.id for entry in await store.chat.get_messages(f"R{number}")]
            assert stored == list(ids), f"messages that differ in {difference}: {ids}"
            for left, message_id in enumerate(ids, start=1):
                await store.chat.edit_message(f"R{number}", message_id, like)
                changed = await store.chat.get_messages(f"R{number}")
                assert [entry.model_extra.get("likes") for entry in changed] == [1, *[None] * (len(ids) - left)], ids
                await store.chat.remove_message(f"R{number}", message_id)
                stored = [entry.id for entry in await store.chat.get_messages(f"R{number}")]
                assert stored == list(ids[left:]), f"messages that differ in {difference}: {ids}"

    @clause(Capability.CHAT)
    async def test_similar_chat_ids_are_apart(self, context: ContractContext) -> None:
        """Chats of rooms whose ids differ in any way are written, read and cleared separately."""
        store = await context.open()

        async def read(room_id: str) -> int:
            stored = await store.chat.get_messages(room_id)
            assert (await store.chat.chat_ttl(room_id) is None) is (not stored)
            return int(stored[-1].message) if stored else 0

        await assert_apart(
            "room id",
            SIMILAR_IDS,
            lambda room_id, number: store.chat.add_message(message(number, room_id, message=str(number))),
            read,
            store.chat.clear_messages,
        )

    @clause(Capability.CONNECTIONS)
    async def test_similar_connection_keys_are_apart(self, context: ContractContext) -> None:
        """Leases of keys that differ in any way are counted and released separately."""
        connections = (await context.open()).connections

        async def acquire(key: str, number: int) -> None:
            for connection in range(number):
                await connections.acquire(key, f"c{connection}")

        async def release(key: str) -> None:
            for connection in range(await connections.count(key)):
                await connections.release(key, f"c{connection}")

        await assert_apart("connection key", SIMILAR_KEYS, acquire, connections.count, release)

    @clause(Capability.CONNECTIONS)
    async def test_similar_connection_ids_are_apart(self, context: ContractContext) -> None:
        """Connections whose ids differ in any way are counted and released separately."""
        connections = (await context.open()).connections
        for number, (difference, ids) in enumerate(SIMILAR_KEYS.items()):
            key = f"k{number}"
            for count, connection_id in enumerate(ids, start=1):
                acquired = await connections.acquire(key, connection_id)
                assert acquired == count, f"connections that differ in {difference}: {ids}"
            with pytest.raises(LimitExceededError):
                await connections.acquire(key, "new", limit=len(ids))
            for count, connection_id in enumerate(ids, start=1):
                left = await connections.release(key, connection_id)
                assert left == len(ids) - count, f"connections that differ in {difference}: {ids}"

    @clause(Capability.RATE_LIMITS)
    async def test_similar_rate_limit_keys_are_apart(self, context: ContractContext) -> None:
        """Hits of keys that differ in any way are counted and reset separately."""
        limits = (await context.open(rate_limit_max=100)).rate_limits

        async def read(key: str) -> int:
            return 100 - (await limits.peek(key)).remaining

        await assert_apart("rate limit key", SIMILAR_KEYS, limits.hit, read, limits.reset)

    @clause(Capability.EVENTS)
    async def test_similar_channels_are_apart(self, context: ContractContext) -> None:
        """Subscribers receive only the events of their room, even if ids of rooms differ only slightly."""
        store = await context.open()
        for difference, ids in SIMILAR_IDS.items():
            async with AsyncExitStack() as stack:
                streams = [await stack.enter_async_context(store.events.subscribe(room_id)) for room_id in ids]
                sent = [AppEvent(room_id=room_id, name="to", value=room_id) for room_id in ids]
                for event in sent:
                    await store.events.publish(event.room_id, event)
                for room_id, stream, event in zip(ids, streams, sent, strict=True):
                    received = await drain(store, stream, room_id)
                    assert received == [event], f"channels that differ in {difference}: {ids}"

    @clause(Capability.SHARED)
    async def test_similar_prefixes_are_apart(self, context: ContractContext) -> None:
        """Stores whose key prefixes differ in any way share nothing."""
        capabilities = context.harness.capabilities
        for difference, prefixes in SIMILAR_PREFIXES.items():
            try:
                stores = [await context.open(key_prefix=prefix) for prefix in prefixes]
            except (ConfigurationError, ValueError):
                assert max(map(len, prefixes)) > 16, f"these prefixes are refused: {prefixes}"
                continue  # with the prefix of the harness these are too long
            place = f"prefixes that differ in {difference}: {prefixes}"
            own: list[object] = []
            for number, store in enumerate(stores):
                assert await store.rooms.get_room("A") is None, place
                await prepare(store, "A", capabilities)
                await store.rooms.add_user_to_room("A", user(f"u{number}"))
                own.append(await observe(store, "A", capabilities))
            for store, expected in zip(stores, own, strict=True):
                assert await observe(store, "A", capabilities) == expected, place
                if Capability.LISTING in capabilities:
                    assert [room_id async for room_id in store.rooms.active_room_ids()] == ["A"], place
                await forget(store, "A", capabilities)

    @clause(Capability.SHARED)
    async def test_a_prefix_and_an_id_are_apart(self, context: ContractContext) -> None:
        """A key prefix that resembles another prefix with the start of an id is rejected, or shares nothing with it."""
        plain = await context.open(key_prefix="p:")
        for word in ("room", "chat", "rl", "connections", "events", "active-rooms"):
            for prefix, room_id, other_id in (
                (f"p:{word}:", "A", f"{word}:A"),
                (f"p:{word}:1:", "A", f"1:{word}:A"),
                (f"p:{word}:1:", f"{word}:A", f"1:{word}:{word}:A"),
                ("p", f":{word}:A", f"{word}:A"),
                (f"p:{word[:2]}", f"{word[2:]}:A", f"{word}:A"),
            ):
                try:
                    other = await context.open(key_prefix=prefix)
                except (ValueError, ConfigurationError):
                    continue
                await _assert_nothing_shared(context, plain, other_id, other, room_id)

    @clause()
    async def test_similar_texts_are_apart(self, context: ContractContext) -> None:
        """A change from one text to a similar one is written: names, tokens, URLs, and extra fields and their names."""
        store = await context.open()
        await store.rooms.create_room(room())
        for difference, texts in SIMILAR_TEXTS.items():
            for text in texts:
                await store.rooms.edit_room(
                    "A3X9K2",
                    lambda before, text=text: before.model_copy(
                        update={"host_name": text, "host_token": text, "video_url": text}
                    ).with_extra({text: text}),
                )
                stored = await store.rooms.get_room("A3X9K2")
                assert stored is not None
                found = (stored.host_name, stored.host_token, stored.video_url, stored.model_extra.get(text))
                assert found == (text,) * 4, f"texts that differ in {difference}: {texts}"
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert len(stored.model_extra) == len({text for texts in SIMILAR_TEXTS.values() for text in texts})


async def _assert_nothing_shared(
    context: ContractContext, first: Store, first_id: str, second: Store, second_id: str
) -> None:
    """Assert that two stores share nothing under two ids."""
    for writer, written, reader, read in ((first, first_id, second, second_id), (second, second_id, first, first_id)):
        await writer.rooms.create_room(room(written))
        assert await reader.rooms.get_room(read) is None, f"{written!r} is read as {read!r} under another prefix"
        stored = await writer.rooms.get_room(written)
        if Capability.EVENTS in context.harness.capabilities:
            async with reader.events.subscribe(read) as events:
                await writer.events.publish(written, AppEvent(room_id=written, name="sent"))
                received = await drain(reader, events, read)
                assert received == [], f"events of {written!r} arrive at {read!r} under another prefix"
        await reader.rooms.delete_room(read)
        after = await writer.rooms.get_room(written)
        assert stored is not None
        assert after is not None
        assert json_text(after) == json_text(stored)
        await writer.rooms.delete_room(written)
