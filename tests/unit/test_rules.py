"""Transitions of rooms and chats."""

from __future__ import annotations

import pytest

from wnc_store import ChatMessage, Room, User, UserNotFoundError, VideoState, rules
from wnc_store_contract.factories import message, room, user


def ids(found: Room | None) -> list[str]:
    """Return the ids of the users of a room."""
    assert found is not None
    return [one.id for one in found.users]


def test_a_transition_does_not_modify_the_room() -> None:
    """A transition returns a new room and does not modify the old one."""
    before = room("A", "host", "guest")
    copy = before.model_copy()
    rules.join(before, user("new"))
    rules.leave(before, "host")
    rules.transfer_host(before, "guest")
    rules.set_video(before, "https://video.example/1", "youtube", now_ms=5)
    assert before == copy


def test_create_counts_the_first_revision() -> None:
    """Creating a room increments its revision."""
    assert rules.create(room()).rev == 1


def test_join_appends() -> None:
    """A new user is appended and the order of the others does not change."""
    assert ids(rules.join(room("A", "host", "first"), user("second"))) == ["host", "first", "second"]


def test_rejoin_moves_to_the_end() -> None:
    """A user who rejoins is moved to the end and replaced by the new record."""
    after = rules.join(room("A", "host", "first"), user("host", name="Renamed"))
    assert ids(after) == ["first", "host"]
    assert after.users[1].name == "Renamed"
    assert after.host_id == "host"


def test_rejoin_removes_duplicates() -> None:
    """If a user is in the room twice, a rejoin leaves the user once."""
    twice = room(users=(user("host"), user("guest"), user("guest")))
    assert ids(rules.join(twice, user("guest"))) == ["host", "guest"]


def test_rejoin_keeps_only_extra_fields() -> None:
    """A rejoin carries over only the extra fields that the new record does not set."""
    old = user("guest", is_host=True, avatar="a.png", mood="old")
    after = rules.join(room(users=(old,)), user("guest", mood="new"))
    assert after.users[0].model_extra == {"avatar": "a.png", "mood": "new"}
    assert after.users[0].is_host is False


def test_leave_of_a_guest_keeps_the_host() -> None:
    """If a guest leaves, the host does not change."""
    after = rules.leave(room("A", "host", "guest"), "guest")
    assert ids(after) == ["host"]
    assert after is not None
    assert after.host_id == "host"


def test_leave_of_the_host_hands_over() -> None:
    """If the host leaves, the first user becomes host and the host token does not change."""
    after = rules.leave(room("A", "host", "first", "second"), "host")
    assert after is not None
    assert (after.host_id, after.host_name, after.host_token) == ("first", "Name of first", "token-of-the-host")
    assert [one.is_host for one in after.users] == [True, False]


def test_leave_keeps_a_host_who_is_not_a_user() -> None:
    """A host_id without a user in the room does not change when another user leaves."""
    ghost = room("A", "first", "second", host_id="ghost")
    after = rules.leave(ghost, "first")
    assert after is not None
    assert after.host_id == "ghost"


def test_leave_of_the_last_user_ends_the_room() -> None:
    """If the last user leaves, the transition returns None."""
    assert rules.leave(room(), "host") is None


def test_leave_of_a_stranger_changes_nothing() -> None:
    """If a user who is not in the room leaves, the same object is returned, also for an empty room."""
    for before in (room(), room(users=())):
        assert rules.leave(before, "stranger") is before


def test_transfer_changes_the_host() -> None:
    """A transfer makes one user host and clears is_host of the previous host only."""
    users = (user("host", is_host=True), user("cohost", is_host=True), user("guest"))
    after = rules.transfer_host(room(users=users), "guest")
    assert (after.host_id, after.host_name) == ("guest", "Name of guest")
    assert [one.is_host for one in after.users] == [False, True, True]


def test_transfer_to_the_host_keeps_the_host() -> None:
    """A transfer to the current host keeps the host."""
    assert rules.transfer_host(room(), "host").users[0].is_host is True


def test_transfer_to_a_stranger_is_rejected() -> None:
    """A transfer to a user who is not in the room raises an error that names the user and the room."""
    with pytest.raises(UserNotFoundError, match=r"'stranger'.*'A3X9K2'"):
        rules.transfer_host(room(), "stranger")


def test_a_video_state_keeps_only_extra_fields() -> None:
    """A new video state carries over only the extra fields of the old one."""
    before = room(video_state=VideoState(current_time=5, duration=9, last_update_time=1, playbackRate=2))  # pyright: ignore[reportCallIssue]
    after = rules.update_video_state(before, VideoState(is_playing=True, last_update_time=2))
    assert after.video_state.to_json() == {
        "isPlaying": True,
        "currentTime": 0,
        "duration": 0,
        "lastUpdateTime": 2,
        "playbackRate": 2,
    }


def test_a_new_video_is_paused_at_the_start() -> None:
    """A new video is paused at position 0 with duration 0 and the given time."""
    after = rules.set_video(room(), "https://video.example/1", "m3u8", now_ms=1234)
    assert (after.video_url, after.video_type) == ("https://video.example/1", "m3u8")
    assert after.video_state == VideoState(is_playing=False, current_time=0, duration=0, last_update_time=1234)


@pytest.mark.parametrize(
    "after",
    [
        rules.join(room(rev=7), user("guest")),
        rules.leave(room("A", "host", "guest", rev=7), "host"),
        rules.leave(room("A", "host", "guest", rev=7), "guest"),
        rules.transfer_host(room(rev=7), "host"),
        rules.update_video_state(room(rev=7), VideoState()),
        rules.set_video(room(rev=7), "https://video.example/1", "youtube", now_ms=1),
        rules.replace(room(rev=7), room(rev=99)),
        rules.edit(room(rev=7), lambda one: one),
        rules.create(room(rev=7)),
    ],
)
def test_a_change_increments_the_revision(after: Room) -> None:
    """Every transition that changes a room increments its revision by one."""
    assert after.rev == 8


def test_edit_rejects_other_types() -> None:
    """A change that does not return a room raises TypeError with the returned type."""
    with pytest.raises(TypeError, match="NoneType"):
        rules.edit(room(), lambda _one: None)  # type: ignore[arg-type, return-value]


def test_edit_rejects_another_id() -> None:
    """A change that returns another id raises ValueError with both ids."""
    with pytest.raises(ValueError, match=r"'A3X9K2'.*'B'"):
        rules.edit(room(), lambda one: one.model_copy(update={"id": "B"}))


def test_edit_validates() -> None:
    """A change that returns an invalid room raises ValueError without any value."""
    with pytest.raises(ValueError, match=r"hostToken|host_token") as caught:
        rules.edit(room(), lambda one: one.model_copy(update={"host_token": ["SECRET"]}))
    assert "SECRET" not in f"{caught.value!r}{caught.value.__context__!r}"


def test_append_keeps_the_last() -> None:
    """An append beyond the limit drops the oldest message."""
    kept: tuple[ChatMessage, ...] = ()
    for number in range(5):
        kept = rules.append(kept, message(number), 3) or ()
    assert [one.id for one in kept] == ["m2", "m3", "m4"]


def test_append_is_idempotent_among_kept_messages() -> None:
    """Appending a kept id returns None; appending a dropped id adds a message."""
    kept = [message(number) for number in range(4)]
    assert rules.append(kept, message(3), 3) is None
    assert rules.append(kept, message(1), 3) is None
    again = rules.append(kept, message(0), 3)
    assert again is not None
    assert [one.id for one in again] == ["m2", "m3", "m0"]


def test_hosted_by_creates_the_host() -> None:
    """Room.hosted_by returns a room with the user as only user and host, and a random token."""
    first, second = (Room.hosted_by(User(id="u1", name="Ada"), room_id="A") for _ in range(2))
    assert (first.host_id, first.host_name, ids(first)) == ("u1", "Ada", ["u1"])
    assert first.users[0].is_host
    assert first.host_token
    assert first.host_token != second.host_token
