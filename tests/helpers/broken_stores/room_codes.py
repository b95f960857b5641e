"""Mutants of rooms with a random code."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from typing import Any

from broken_stores.mutant import Mutant, Mutants
from wnc_store import Room, User
from wnc_store.base import rooms
from wnc_store.base.codes import new_room_code
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

create_with_code = MemoryRoomStore.create_room_with_code
numbers = count()

MUTANTS.append(
    Mutant(
        "a code in use is not tried again",
        (rooms, "_MAX_CODES"),
        1,
        frozenset({"test_a_code_in_use_is_not_given_again"}),
        MemoryHarness,
    )
)


@MUTANTS.breaks((rooms, "new_room_code"), "a_code_contains_no_look_alikes")
def codes_contain_look_alikes(length: int) -> str:
    """Use letters and digits that look alike in longer codes."""
    code = new_room_code(length)
    return code if length == 1 else "".join(secrets.choice("0O1IL23456789ABCDEFGH") for _ in code)


@MUTANTS.breaks((rooms, "new_room_code"), "codes_are_random")
def codes_are_counted(length: int) -> str:
    """Count the codes, so that guests can guess the next room."""
    code = new_room_code(length)
    if length != 6:
        return code
    number = next(numbers)
    return "".join("ABCDEFGH"[number // 8**place % 8] for place in reversed(range(6)))


@MUTANTS.breaks(
    (rooms, "new_room_code"),
    "a_code_contains_no_look_alikes",
    "a_code_in_use_is_not_given_again",
    "if_all_codes_are_in_use_no_room_is_created",
)
def the_length_is_ignored(length: int) -> str:
    """Return six characters, also if `length` asks for fewer."""
    new_room_code(length)
    return new_room_code(6)


@MUTANTS.breaks(
    (MemoryRoomStore, "create_room_with_code"),
    "a_room_with_a_code_has_its_host",
    "codes_are_random",
)
async def a_room_with_a_code_has_no_token(
    self: MemoryRoomStore, host: User, *, length: int = 6, change: Callable[[Room], Room] | None = None
) -> Room:
    """Store a room without a host token, which nobody can control."""
    made = await create_with_code(self, host, length=length, change=change)
    return await self._update(made.id, lambda room: room.model_copy(update={"host_token": None})) or made


@MUTANTS.breaks((MemoryRoomStore, "create_room_with_code"), "a_room_with_a_code_has_its_host")
async def a_room_with_a_code_is_returned_as_it_was_before(
    self: MemoryRoomStore, host: User, *, length: int = 6, change: Callable[[Room], Room] | None = None
) -> Room:
    """Return the room with the revision before it was stored."""
    made = await create_with_code(self, host, length=length, change=change)
    return made.model_copy(update={"rev": 0}) if change is None else made


@MUTANTS.breaks(
    (MemoryRoomStore, "create_room_with_code"),
    "a_room_with_a_code_can_be_changed_before_it_is_stored",
    "a_refused_room_with_a_code_is_not_stored",
)
async def a_room_with_a_code_is_not_changed(
    self: MemoryRoomStore, host: User, *, length: int = 6, **_options: Any
) -> Room:
    """Ignore `change`."""
    return await create_with_code(self, host, length=length)


@MUTANTS.breaks(
    (MemoryRoomStore, "create_room_with_code"),
    "a_room_with_a_code_can_be_changed_before_it_is_stored",
    "a_refused_room_with_a_code_is_not_stored",
)
async def a_room_with_a_code_is_changed_in_a_second_write(
    self: MemoryRoomStore, host: User, *, length: int = 6, change: Callable[[Room], Room] | None = None
) -> Room:
    """Store the room before `change` is called."""
    made = await create_with_code(self, host, length=length)
    return made if change is None else await self.edit_room(made.id, change)
