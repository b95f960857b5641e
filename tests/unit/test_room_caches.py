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

from wnc_store import LimitExceededError, Room, StoreSettings, User, VideoState, rules, to_wire
from wnc_store.base import size_limits
from wnc_store.base.size_limits import SizeLimits
from wnc_store.records import encode
from wnc_store_contract.factories import room, user
from wnc_store_memory import MemoryStore

Step = Callable[[Room], "Room | None"]


def joins(user_id: str, name: str, extra: dict[str, Any]) -> Step:
    """Return a step that adds a user."""
    return lambda before: rules.join(before, user(user_id, name=name, **extra))


def leaves(user_id: str) -> Step:
    """Return a step that removes a user."""
    return lambda before: rules.leave(before, user_id)


def transfers(user_id: str) -> Step:
    """Return a step that makes a user host."""
    return lambda before: rules.transfer_host(before, user_id) if before.user(user_id) else before


def plays(number: float, extra: dict[str, Any]) -> Step:
    """Return a step that changes the video state."""
    state = VideoState(current_time=number, duration=number, last_update_time=number, **extra)
    return lambda before: rules.update_video_state(before, state)


def chooses(video_url: str, video_type: str) -> Step:
    """Return a step that sets the video."""
    return lambda before: rules.set_video(before, video_url, video_type, now_ms=1)


def renames(name: str) -> Step:
    """Return a step that copies the room as an app does."""
    return lambda before: before.model_copy(update={"host_name": name, "users": before.users[::-1]})


def pickled(before: Room) -> Room:
    """Return the room after pickling."""
    return pickle.loads(pickle.dumps(before))


IDS = st.sampled_from(["host", "a", "b", "c"])
TEXTS = st.sampled_from(["", "n", "n" * 1500, "\x00" * 99, "\ud83d", "😀" * 99])
EXTRA: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, {"colour": "red"}, {"colour": "r" * 3000}])
STEP: st.SearchStrategy[Step] = st.one_of(
    st.builds(joins, IDS, TEXTS, EXTRA),
    st.builds(leaves, IDS),
    st.builds(transfers, IDS),
    st.builds(plays, st.sampled_from([0, 1.5, 10**3999]), EXTRA),
    st.builds(chooses, TEXTS, TEXTS),
    st.builds(renames, TEXTS),
    st.sampled_from([copy.copy, copy.deepcopy, pickled]),
)
STEPS = st.lists(st.tuples(st.integers(0, 9), STEP), max_size=12)
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


def test_users_with_the_same_id_are_kept() -> None:
    """A join keeps other users with equal ids, which another client wrote, and replaces all that have its own id."""
    before = room(users=(user("host", colour="blue"), user("a"), user("host"), user("a")))
    joined = rules.join(before, user("b"))
    assert [one.id for one in joined.users] == ["host", "a", "host", "a", "b"]
    again = rules.join(joined, user("host"))
    assert [one.id for one in again.users] == ["a", "a", "b", "host"]
    assert again.users[-1].model_extra == {"colour": "blue"}


def test_several_joins_start_from_one_room() -> None:
    """A join that starts from a room again, after a rejoin from it, sees the room's own users in their order."""
    before = rules.join(room("A", "host"), user("a"))
    rules.join(before, user("host", name="again"))
    after = rules.join(before, user("b"))
    assert after.users[:2] == before.users


def test_the_host_of_a_room_that_has_waited_stays_host() -> None:
    """The user who becomes host by ending a wait is still host after the next join."""
    waiting = rules.leave(room(users=(user("host"),)), "host", keep_empty=True)
    assert waiting is not None
    first = rules.join(waiting, user("a"))
    second = rules.join(first, user("b"))
    assert [(one.id, one.is_host) for one in second.users] == [("a", True), ("b", False)]


def test_a_join_reads_no_other_users() -> None:
    """A join reads the ids of the users of a room only if the room was not the result of a join."""
    crowd = room("A", "u0")
    for number in range(1, 100):
        crowd = rules.join(crowd, user(f"u{number}"))
    joining, reads = user("another"), list[str]()

    def read(one: User) -> str:
        reads.append(one.__dict__["id"])
        return reads[-1]

    with mock.patch.object(User, "id", property(read), create=True):
        rules.join(crowd, joining)
    assert set(reads) == {"another"}


def test_a_join_does_not_encode_the_other_fields() -> None:
    """The JSON of a room's other fields is encoded once for the room and the rooms that follow it by joins."""
    before = room("A", "host", video_url="https://video.example")
    to_wire(before)
    after = rules.join(before, user("a"))
    fields = mock.MagicMock()
    fields.__iter__.side_effect = AssertionError
    with mock.patch.object(encode, "_HEAD", fields), mock.patch.object(encode, "_TAIL", fields):
        text = to_wire(after)
    assert text == json.dumps(after.to_json(), ensure_ascii=False, separators=(",", ":")).encode()


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
    """A field without a separate limit can make a room too large."""
    async with MemoryStore(StoreSettings(max_room_bytes=60_000)) as store:
        with pytest.raises(LimitExceededError, match="max_room_bytes"):
            await store.rooms.create_room(room("A", **{field: "x" * 60_000}))
        await store.rooms.create_room(room("A"))
        with pytest.raises(LimitExceededError, match="max_room_bytes"):
            await store.rooms.set_video_url("A", "https://video.example/1", "x" * 60_000)
