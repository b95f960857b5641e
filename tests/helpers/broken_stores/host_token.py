"""Mutants of the rotation of host tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from broken_stores.mutant import Mutants
from wnc_store import Room, RoomNotFoundError, UserNotFoundError, rules
from wnc_store.base import rooms
from wnc_store.base.rooms import new_host_token
from wnc_store.base.size_limits import SizeLimits
from wnc_store.rules import rotate_host_token as rotate  # bound before a mutant replaces it
from wnc_store.rules import transfer_host
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

rotate_in_store, transfer_in_store = MemoryRoomStore.rotate_host_token, MemoryRoomStore.transfer_host

VALID_TOKENS = (
    "a_rotation_replaces_the_host_token",
    "a_rotation_changes_only_the_host_token",
    "a_room_without_a_host_token_gets_one",
    "one_of_many_rotations_prevails",
)


@MUTANTS.breaks((rules, "rotate_host_token"), *VALID_TOKENS, "a_rotation_keeps_to_the_size_limit")
def a_rotation_keeps_the_token(room: Room, _host_token: str) -> Room:
    """Increment the revision but keep the host token."""
    return rules._revised(room)


@MUTANTS.breaks((MemoryRoomStore, "rotate_host_token"), *VALID_TOKENS, "a_new_host_token_is_hard_to_guess")
async def a_rotation_returns_the_old_token(self: MemoryRoomStore, room_id: str) -> str | None:
    """Return the token that is no longer valid."""
    before = await self._get(room_id)
    await rotate_in_store(self, room_id)
    return before and before.host_token


@MUTANTS.breaks((MemoryRoomStore, "rotate_host_token"), "a_new_host_token_is_hard_to_guess")
async def a_token_can_be_shown(self: MemoryRoomStore, room_id: str) -> str:
    """Return a plain string, which tools that record local variables show."""
    return str(await rotate_in_store(self, room_id))


def short_tokens() -> Iterator[str]:
    """Return tokens that are counted instead of random."""
    return (f"{number:032}" for number in range(10**6))


counted = short_tokens()


@MUTANTS.breaks((rooms, "new_host_token"), "a_new_host_token_is_hard_to_guess")
def tokens_are_counted() -> str:
    """Use a counter instead of a random token."""
    return next(counted)


@MUTANTS.breaks((rooms, "new_host_token"), "a_new_host_token_is_hard_to_guess")
def tokens_are_short() -> str:
    """Use a token of eight characters."""
    return new_host_token()[:8]


@MUTANTS.breaks((rules, "rotate_host_token"), "a_rotation_changes_only_the_host_token")
def a_rotation_clears_cohosts(room: Room, host_token: str) -> Room:
    """Clear is_host of all users, so that they have to present the new token."""
    users = tuple(user.model_copy(update={"is_host": False}) for user in room.users)
    return rotate(room, host_token).model_copy(update={"users": users})


@MUTANTS.breaks(
    (rules, "rotate_host_token"),
    "rotate_host_token_increments_the_revision",
    "a_rotation_changes_only_the_host_token",
    "a_rotation_is_published_without_the_token",
    "one_of_many_rotations_prevails",
)
def a_rotation_keeps_the_revision(room: Room, host_token: str) -> Room:
    """Do not increment the revision."""
    return rotate(room, host_token).model_copy(update={"rev": room.rev})


@MUTANTS.breaks((MemoryRoomStore, "rotate_host_token"), "a_rotation_requires_a_room")
async def a_rotation_of_a_missing_room_returns_a_token(self: MemoryRoomStore, room_id: str) -> str:
    """Return a token for a missing room."""
    try:
        return await rotate_in_store(self, room_id)
    except RoomNotFoundError:
        return new_host_token()


@MUTANTS.breaks((MemoryRoomStore, "rotate_host_token"), "one_of_many_rotations_prevails")
async def a_rotation_takes_two_steps(self: MemoryRoomStore, room_id: str) -> str:
    """Write the room as it was before a step of the event loop."""
    before = await self._get(room_id)
    await asyncio.sleep(0)
    token = await rotate_in_store(self, room_id)
    if before is not None and (after := self._rooms.get(room_id)) is not None:
        self._rooms.change(room_id, after, after.value.model_copy(update={"users": before.users}))
    return token


@MUTANTS.breaks(
    (rules, "transfer_host"),
    "a_transfer_can_rotate_the_host_token",
    "a_room_without_a_host_token_gets_one",
    "a_rotation_is_published_without_the_token",
)
def a_transfer_ignores_rotate_token(room: Room, user_id: str, **_options: Any) -> Room:
    """Keep the host token."""
    return transfer_host(room, user_id)


@MUTANTS.breaks(
    (MemoryRoomStore, "transfer_host"),
    "a_transfer_keeps_the_host_token",
    "a_host_transfer_is_published",
    "a_cancelled_transfer_is_atomic",
    "existing_oversized_data_is_accepted",
)
async def a_transfer_always_rotates(
    self: MemoryRoomStore, room_id: str, user_id: str, *, rotate_token: bool = True
) -> Room:
    """Replace the host token in every transfer."""
    return await transfer_in_store(self, room_id, user_id, rotate_token=rotate_token or True)


@MUTANTS.breaks((MemoryRoomStore, "transfer_host"), "a_refused_transfer_keeps_the_host_token")
async def a_refused_transfer_rotates(
    self: MemoryRoomStore, room_id: str, user_id: str, *, rotate_token: bool = False
) -> Room:
    """Replace the host token before the user is checked."""
    try:
        return await transfer_in_store(self, room_id, user_id, rotate_token=rotate_token)
    except UserNotFoundError:
        if rotate_token:
            await rotate_in_store(self, room_id)
        raise


@MUTANTS.breaks(
    (MemoryRoomStore, "transfer_host"),
    "a_transfer_can_rotate_the_host_token",
    "a_rotation_is_published_without_the_token",
    "a_rotation_keeps_to_the_size_limit",
)
async def a_transfer_rotates_in_a_second_write(
    self: MemoryRoomStore, room_id: str, user_id: str, *, rotate_token: bool = False
) -> Room:
    """Write twice, so that others can read the new host with the old token."""
    after = await transfer_in_store(self, room_id, user_id)
    if not rotate_token:
        return after
    token = await rotate_in_store(self, room_id)
    return after.model_copy(update={"host_token": token, "rev": after.rev + 1})


def _accept(_limits: SizeLimits, _before: Room | None, after: Room) -> Room:
    return after


@MUTANTS.breaks((MemoryRoomStore, "rotate_host_token"), "a_rotation_keeps_to_the_size_limit")
async def a_rotation_ignores_the_size_limit(self: MemoryRoomStore, room_id: str) -> str:
    """Write a room that exceeds max_room_bytes."""
    with patch.object(SizeLimits, "check_growth", _accept):
        return await rotate_in_store(self, room_id)
