"""What a room remembers of its users and its size never changes the result of an operation."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wnc_store import LimitExceededError, Room, StoreSettings, VideoState, rules, to_wire
from wnc_store.base import size_limits
from wnc_store.base.size_limits import SizeLimits
from wnc_store_contract.factories import room, user
from wnc_store_memory import MemoryStore

IDS = st.sampled_from(["host", "a", "b", "c"])
TEXTS = st.sampled_from(["", "n", "n" * 1500, "\x00" * 99, "\ud83d", "😀" * 99])
EXTRA = st.sampled_from([{}, {}, {"colour": "red"}, {"colour": "r" * 3000}])
NUMBERS = st.sampled_from([0, 1.5, 10**3999])
Step = Callable[[Room], "Room | None"]
STEPS: st.SearchStrategy[list[tuple[int, Step]]] = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.one_of(
            st.builds(
                lambda name, text, extra: lambda before: rules.join(before, user(name, name=text, **extra)),
                *(IDS, TEXTS, EXTRA),
            ),
            IDS.map(lambda name: lambda before: rules.leave(before, name)),
            IDS.map(lambda name: lambda before: rules.transfer_host(before, name) if before.user(name) else before),
            st.builds(
                lambda number, extra: (
                    lambda before: rules.update_video_state(
                        before, VideoState(current_time=number, duration=number, last_update_time=number, **extra)
                    )
                ),
                *(NUMBERS, EXTRA),
            ),
            st.builds(lambda url, kind: lambda before: rules.set_video(before, url, kind, now_ms=1), *(TEXTS, TEXTS)),
            TEXTS.map(lambda text: lambda before: before.model_copy(update={"host_name": text, "rev": before.rev + 1})),
            st.sampled_from([copy.copy, copy.deepcopy, lambda before: pickle.loads(pickle.dumps(before))]),
        ),
    ),
    max_size=12,
)
LIMITS = SizeLimits(StoreSettings(max_room_bytes=5000, max_users_per_room=4))


def outcome(step: Step, before: Room) -> Room | str:
    """Return the room after a step, or the message of the error."""
    try:
        return LIMITS.check_growth(before, step(before) or before)
    except LimitExceededError as error:
        return str(error)


def without_caches(made: Any) -> Any:
    """Return an equal room that remembers nothing."""
    return made if isinstance(made, str) else Room.model_validate(made.to_json(), by_alias=True, by_name=False)


@given(steps=STEPS)
def test_a_room_never_remembers_anything_wrong(steps: list[tuple[int, Step]]) -> None:
    """Any steps, also several from one room, give the rooms, JSON and errors that rooms without caches give."""
    rooms = [room(users=(user("host", colour="blue"), user("a"), user("host")))]
    for number, step in steps:
        before = rooms[number % len(rooms)]
        after = outcome(step, before)
        assert without_caches(after) == without_caches(outcome(step, without_caches(before)))
        if isinstance(after, Room):
            rooms.append(after)
            text = json.dumps(after.to_json(), ensure_ascii=False, separators=(",", ":"))
            assert to_wire(after) == text.encode("utf-8", "backslashreplace")
            assert len(to_wire(after)) <= rules.max_encoded_bytes(after)


def test_joins_do_not_encode_a_large_room() -> None:
    """Joins derive the upper bound of the size and the ids of the users from those of the room before."""
    crowd = LIMITS.check_growth(None, room("A", "u0"))
    with mock.patch.object(size_limits, "to_wire", side_effect=AssertionError):
        limits = SizeLimits(StoreSettings())
        for number in range(200):
            crowd = limits.check_growth(crowd, rules.join(crowd, user(f"u{number % 100}", name="longer")))
    assert [one.id for one in crowd.users] == [f"u{number}" for number in range(100)]
    assert len(to_wire(crowd)) <= rules.max_encoded_bytes(crowd) < math.inf


def test_a_room_at_the_limit_is_measured() -> None:
    """Rejoins that make the upper bound, but not the room, larger than the limit are accepted."""
    limits = SizeLimits(StoreSettings(max_room_bytes=2000))
    made = limits.check_growth(None, room("A", "host", "a"))
    for _ in range(20):
        made = limits.check_growth(made, rules.join(made, user("a")))
    assert rules.max_encoded_bytes(made) <= 2000


def test_a_copied_room_remembers_nothing() -> None:
    """A user added to a room by `model_copy` is not duplicated by a rejoin."""
    before = rules.join(room("A", "host", "a"), user("b"))
    copied = before.model_copy(update={"users": (*before.users[1:], user("z"))})
    again = rules.join(rules.join(copied, user("z")), user("host"))
    assert [one.id for one in again.users] == ["a", "b", "z", "host"]


@pytest.mark.parametrize("field", ["host_token", "video_type", "colour"])
async def test_every_field_counts_towards_the_size_of_a_room(field: str) -> None:
    """A room is too large also because of a field that has no limit of its own."""
    async with MemoryStore(StoreSettings(max_room_bytes=60_000)) as store:
        with pytest.raises(LimitExceededError, match="max_room_bytes"):
            await store.rooms.create_room(room("A", **{field: "x" * 60_000}))
        await store.rooms.create_room(room("A"))
        with pytest.raises(LimitExceededError, match="max_room_bytes"):
            await store.rooms.set_video_url("A", "https://video.example/1", "x" * 60_000)


def test_a_rejoin_replaces_every_entry_of_the_user() -> None:
    """A user whom another client stored twice is in the room once after a rejoin, with the first extra fields."""
    before = room("A").model_copy(update={"users": (user("a", n=1), user("b"), user("a", n=2))})
    assert rules.join(before, user("a")).users == (user("b"), user("a", n=1))
