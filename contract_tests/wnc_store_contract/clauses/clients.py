"""Clauses about consistency between clients: no client returns stale data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from wnc_store import Room, Store, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability

Write = Callable[[Store], Awaitable[object]]


def renamed(stored: Room) -> Room:
    """Return a room with another host name."""
    return stored.replace(host_name="New")


ROOM_WRITES: tuple[Write, ...] = (
    lambda store: store.rooms.create_room(room(ROOM, "host", "guest")),
    lambda store: store.rooms.add_user_to_room(ROOM, user("new")),
    lambda store: store.rooms.transfer_host(ROOM, "guest"),
    lambda store: store.rooms.rotate_host_token(ROOM),
    lambda store: store.rooms.update_video_state(ROOM, VideoState(current_time=99)),
    lambda store: store.rooms.set_video_url(ROOM, "https://video.example/1"),
    lambda store: store.rooms.edit_room(ROOM, renamed),
    lambda store: store.rooms.update_room(ROOM, room(ROOM, "host", "guest")),
    lambda store: store.rooms.remove_user_from_room(ROOM, "guest"),
    lambda store: store.rooms.delete_room(ROOM),
)
"""Writes to a room, ordered so that each changes something."""


class ClientClauses:
    """Clauses with one client that writes and one that reads."""

    @clause(Capability.SHARED)
    async def test_two_clients_share_data(self, context: ContractContext) -> None:
        """One client reads what another client wrote."""
        first, second = await context.open(), await context.open()
        await first.rooms.create_room(room())
        assert await second.rooms.get_room(ROOM) == await first.rooms.get_room(ROOM)
        await second.rooms.delete_room(ROOM)
        assert await first.rooms.get_room(ROOM) is None

    @clause(Capability.SHARED)
    async def test_room_reads_see_writes_of_other_clients(self, context: ContractContext) -> None:
        """A client that has read a room sees every later change by another client."""
        writer, reader = await context.open(), await context.open()
        before = await reader.rooms.get_room(ROOM)
        for write in ROOM_WRITES:
            await write(writer)
            stored = await reader.rooms.get_room(ROOM)
            assert stored != before
            assert stored == await writer.rooms.get_room(ROOM)
            assert await reader.rooms.room_exists(ROOM) is (stored is not None)
            before = stored

    @clause(Capability.SHARED)
    async def test_ttl_reads_see_writes_of_other_clients(self, context: ContractContext) -> None:
        """A client that has read a room's TTL sees its renewal by another client."""
        writer, reader = await context.open(), await context.open()
        await writer.rooms.create_room(room())
        await context.advance(4 * 3600)
        before = await reader.rooms.room_ttl(ROOM)
        await writer.rooms.add_user_to_room(ROOM, user("guest"))
        after = await reader.rooms.room_ttl(ROOM)
        assert before is not None
        assert after is not None
        assert after - before > timedelta(hours=3)

    @clause(Capability.SHARED, Capability.LISTING)
    async def test_listings_see_writes_of_other_clients(self, context: ContractContext) -> None:
        """A client that has listed rooms sees creations and deletions by another client."""
        writer, reader = await context.open(), await context.open()

        async def listed() -> list[str]:
            return [room_id async for room_id in reader.rooms.active_room_ids()]

        assert await listed() == []
        await writer.rooms.create_room(room())
        assert await listed() == [ROOM]
        await writer.rooms.delete_room(ROOM)
        assert await listed() == []

    @clause(Capability.SHARED, Capability.CHAT)
    async def test_chat_reads_see_writes_of_other_clients(self, context: ContractContext) -> None:
        """A client that has read a chat sees messages that another client adds and clears."""
        writer, reader = await context.open(), await context.open()
        for number in (1, 2):
            await writer.chat.add_message(message(number))
            assert [entry.id for entry in await reader.chat.get_messages(ROOM)][-1:] == [f"m{number}"]
        await writer.chat.clear_messages(ROOM)
        assert await reader.chat.get_messages(ROOM) == []
        assert await reader.chat.chat_ttl(ROOM) is None

    @clause(Capability.SHARED, Capability.CONNECTIONS)
    async def test_connection_counts_see_other_clients(self, context: ContractContext) -> None:
        """A client that has counted connections sees another client's acquire and release."""
        writer, reader = await context.open(), await context.open()
        assert await reader.connections.count("ip") == 0
        await writer.connections.acquire("ip", "c1")
        assert await reader.connections.count("ip") == 1
        await writer.connections.release("ip", "c1")
        assert await reader.connections.count("ip") == 0

    @clause(Capability.SHARED, Capability.RATE_LIMITS)
    async def test_hit_counts_see_other_clients(self, context: ContractContext) -> None:
        """A client that has peeked at a rate limit sees another client's hit and reset, also if it was rejected."""
        writer, reader = await context.open(), await context.open(rate_limit_max=3)
        for allowed in (True, False):
            assert (await reader.rate_limits.hit("ip", 3)).allowed is allowed
        await writer.rate_limits.reset("ip")
        assert (await reader.rate_limits.hit("ip")).allowed is True
        await writer.rate_limits.reset("ip")
        limit = (await reader.rate_limits.peek("ip")).remaining
        await writer.rate_limits.hit("ip")
        assert (await reader.rate_limits.peek("ip")).remaining == limit - 1
        await writer.rate_limits.reset("ip")
        assert (await reader.rate_limits.peek("ip")).remaining == limit
