"""Clauses about the host token: its rotation, alone and with a host transfer."""

from __future__ import annotations

import asyncio

import pytest

from wnc_store import (
    HostChanged,
    LimitExceededError,
    Room,
    RoomChanged,
    RoomNotFoundError,
    Store,
    UserNotFoundError,
    to_wire,
)
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.changes import events_of, open_with_room
from wnc_store_contract.factories import ROOM, room, user
from wnc_store_contract.harness import Capability

TOKEN = "token-of-the-host"
"""The host token of the rooms of the factory."""


async def read(store: Store) -> Room:
    """Return the room of the clause."""
    stored = await store.rooms.get_room(ROOM)
    assert stored is not None
    return stored


class HostTokenClauses:
    """Clauses about `rotate_host_token` and the argument `rotate_token` of `transfer_host`."""

    @clause()
    async def test_a_rotation_replaces_the_host_token(self, context: ContractContext) -> None:
        """After rotate_host_token only the returned token is valid, and each rotation returns another one."""
        store = await context.open()
        await store.rooms.create_room(room())
        former = [TOKEN]
        for _ in range(3):
            token = await store.rooms.rotate_host_token(ROOM)
            stored = await read(store)
            assert stored.host_token == token
            assert stored.verify_host_token(token)
            assert not any(map(stored.verify_host_token, former))
            former.append(token)

    @clause()
    async def test_a_new_host_token_is_hard_to_guess(self, context: ContractContext) -> None:
        """A new host token has at least 22 URL-safe characters, which differ from token to token, and a masked repr."""
        store = await context.open()
        await store.rooms.create_room(room(ROOM, "host", "guest"))
        tokens = [await store.rooms.rotate_host_token(ROOM) for _ in range(50)]
        transferred = await store.rooms.transfer_host(ROOM, "guest", rotate_token=True)
        assert transferred.host_token is not None
        for token in (*tokens, transferred.host_token):
            assert isinstance(token, str)
            assert len(token) >= 22
            assert token.replace("-", "").replace("_", "").isalnum()
            assert token.isascii()
            assert str(token) not in repr([token])
        for position in range(22):
            assert len({token[position] for token in tokens}) > 5, f"character {position} of the token is not random"

    @clause()
    async def test_a_rotation_changes_only_the_host_token(self, context: ContractContext) -> None:
        """rotate_host_token changes the host token, increments the revision and keeps everything else."""
        store = await context.open()
        await store.rooms.create_room(room(ROOM, "host", "guest", settings={"theme": "dark"}))
        before = await read(store)
        token = await store.rooms.rotate_host_token(ROOM)
        assert await read(store) == before.model_copy(update={"host_token": token, "rev": before.rev + 1})

    @clause()
    async def test_a_room_without_a_host_token_gets_one(self, context: ContractContext) -> None:
        """rotate_host_token and a transfer with rotate_token give a host token to a room without one."""
        store = await context.open()
        await store.rooms.create_room(room(host_token=None))
        token = await store.rooms.rotate_host_token(ROOM)
        assert (await read(store)).verify_host_token(token)
        await store.rooms.update_room(ROOM, room(host_token=None))
        assert (await store.rooms.transfer_host(ROOM, "host", rotate_token=True)).host_token

    @clause()
    async def test_a_rotation_requires_a_room(self, context: ContractContext) -> None:
        """Rotating the host token of a missing room raises RoomNotFoundError and creates nothing."""
        store = await context.open()
        with pytest.raises(RoomNotFoundError):
            await store.rooms.rotate_host_token(ROOM)
        assert await store.rooms.room_exists(ROOM) is False

    @clause()
    async def test_a_transfer_keeps_the_host_token(self, context: ContractContext) -> None:
        """Without rotate_token, transfer_host keeps the host token."""
        store = await context.open()
        await store.rooms.create_room(room(ROOM, "host", "guest"))
        for options in ({}, {"rotate_token": False}):
            after = await store.rooms.transfer_host(ROOM, "guest", **options)
            assert after.host_token == (await read(store)).host_token == TOKEN

    @clause()
    async def test_a_transfer_can_rotate_the_host_token(self, context: ContractContext) -> None:
        """With rotate_token, transfer_host also replaces the host token, and returns the room with the new one."""
        store = await context.open()
        await store.rooms.create_room(room(ROOM, "host", "guest"))
        before = await read(store)
        for number, user_id in enumerate(("guest", "guest", "host"), start=1):
            after = await store.rooms.transfer_host(ROOM, user_id, rotate_token=True)
            assert (after.host_id, after.rev) == (user_id, before.rev + number)
            assert after.host_token not in {None, TOKEN, before.host_token}
            assert await read(store) == after
            before = before.model_copy(update={"host_token": after.host_token})

    @clause()
    async def test_a_refused_transfer_keeps_the_host_token(self, context: ContractContext) -> None:
        """A transfer with rotate_token to a user who is not in the room changes nothing."""
        store = await context.open()
        await store.rooms.create_room(room())
        before = await read(store)
        with pytest.raises(UserNotFoundError):
            await store.rooms.transfer_host(ROOM, "stranger", rotate_token=True)
        assert await read(store) == before

    @clause()
    async def test_one_of_many_rotations_prevails(self, context: ContractContext) -> None:
        """Concurrent rotations return different tokens. One of them is valid, and no join is lost."""
        store = await context.open()
        await store.rooms.create_room(room())
        joins = (store.rooms.add_user_to_room(ROOM, user(f"u{number}")) for number in range(20))
        rotations = (store.rooms.rotate_host_token(ROOM) for _ in range(20))
        tokens, _ = await asyncio.gather(asyncio.gather(*rotations), asyncio.gather(*joins))
        stored = await read(store)
        assert len(set(tokens)) == 20
        assert len([token for token in tokens if stored.verify_host_token(token)]) == 1
        assert (len(stored.users), stored.rev) == (21, 41)

    @clause()
    async def test_a_rotation_keeps_to_the_size_limit(self, context: ContractContext) -> None:
        """A rotation that would exceed max_room_bytes raises LimitExceededError and changes nothing."""
        made = room(ROOM, "host", "guest", host_token=None)
        store = await context.open(max_room_bytes=len(to_wire(made.model_copy(update={"rev": 1}))))
        await store.rooms.create_room(made)
        with pytest.raises(LimitExceededError, match="bytes"):
            await store.rooms.rotate_host_token(ROOM)
        with pytest.raises(LimitExceededError, match="bytes"):
            await store.rooms.transfer_host(ROOM, "guest", rotate_token=True)
        stored = await read(store)
        assert (stored.host_token, stored.host_id, stored.rev) == (None, "host", 1)

    @clause(Capability.EVENTS)
    async def test_a_rotation_is_published_without_the_token(self, context: ContractContext) -> None:
        """A rotation publishes RoomChanged, after HostChanged if it is part of a transfer, without the token."""
        store = await open_with_room(context, "host", "guest")
        rooms = store.rooms
        assert await events_of(store, lambda: rooms.rotate_host_token(ROOM)) == [RoomChanged(room_id=ROOM, rev=2)]
        assert await events_of(store, lambda: rooms.transfer_host(ROOM, "guest", rotate_token=True)) == [
            HostChanged(room_id=ROOM, rev=3, host_id="guest", host_name="Name of guest"),
            RoomChanged(room_id=ROOM, rev=3),
        ]
