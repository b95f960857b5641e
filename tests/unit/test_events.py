"""Events as records, and the events that a commit makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wnc_store import (
    AppEvent,
    CorruptRecordError,
    HostChanged,
    MessageAdded,
    Resync,
    Room,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    User,
    UserJoined,
    UserLeft,
    VideoSet,
    VideoState,
    VideoStateChanged,
    from_wire,
    rules,
    to_wire,
)
from wnc_store.base.diff import diff_rooms
from wnc_store_contract.factories import message, room, user

EVENTS: dict[str, RoomEvent] = {
    "userJoined": UserJoined(room_id="A", rev=2, user=user("guest", avatar={"color": "red"})),
    "userLeft": UserLeft(room_id="A", rev=3, user=user("guest")),
    "hostChanged": HostChanged(room_id="A", rev=4, host_id="guest", host_name="Guest"),
    "videoStateChanged": VideoStateChanged(room_id="A", rev=5, video_state=VideoState(current_time=1.5)),
    "videoSet": VideoSet(room_id="A", rev=6, video_url=None, video_type=None, video_state=VideoState()),
    "roomChanged": RoomChanged(room_id="A", rev=7),
    "roomClosed": RoomClosed(room_id="A"),
    "messageAdded": MessageAdded(room_id="A", message=message(1, "A", message="cut \ud83d")),
    "appEvent": AppEvent(room_id="A", name="typing", value={"by": ["guest"], "\ud83d": None}),
    "resync": Resync(room_id="A"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_survives_the_wire(name: str) -> None:
    """Each kind of event is read back from its JSON as it was, by the name in `type`."""
    event = EVENTS[name]
    data = to_wire(event)
    assert json.loads(data)["type"] == name
    found = from_wire(RoomEvent, data, key="channel")
    assert found == event
    assert type(found) is type(event)


def test_every_kind_has_a_sample() -> None:
    """The samples of these tests are of every kind that there is."""
    assert {type(event) for event in EVENTS.values()} == set(RoomEvent.__subclasses__())


def test_an_event_is_camel_case_json() -> None:
    """On the wire an event is camelCase JSON; a revision that there is not is absent."""
    assert json.loads(to_wire(EVENTS["hostChanged"])) == {
        "roomId": "A",
        "rev": 4,
        "type": "hostChanged",
        "hostId": "guest",
        "hostName": "Guest",
    }
    assert json.loads(to_wire(EVENTS["roomClosed"])) == {"roomId": "A", "type": "roomClosed"}


def test_unknown_fields_of_an_event_survive() -> None:
    """What an event does not declare is kept."""
    data = b'{"roomId":"A","type":"roomChanged","reason":{"by":"node"}}'
    assert json.loads(to_wire(from_wire(RoomEvent, data, key="channel"))) == json.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"[]",
        b"null",
        b'"roomChanged"',
        b"{}",
        b'{"roomId":"A"}',
        b'{"roomId":"A","type":"SECRET"}',
        b'{"roomId":"A","type":["roomChanged"]}',
        b'{"type":"roomChanged"}',
        b'{"roomId":"A","type":"roomChanged","rev":"SECRET"}',
        b'{"roomId":"A","type":"roomChanged","rev":-1}',
        b'{"roomId":"A","type":"userJoined","rev":1}',
        b'{"roomId":"A","type":"messageAdded","message":{"message":"SECRET"}}',
    ],
)
def test_what_is_no_event_is_corrupt(data: bytes) -> None:
    """What is no event is a CorruptRecordError that holds nothing of it."""
    with pytest.raises(CorruptRecordError, match="channel") as caught:
        from_wire(RoomEvent, data, key="channel")
    assert "SECRET" not in repr(caught.value) + str(caught.value)
    assert caught.value.__context__ is None


def test_an_event_is_frozen() -> None:
    """Neither an event nor the value in an app's own can be changed in place."""
    event = AppEvent(room_id="A", name="typing", value={"by": ["guest"]})
    with pytest.raises(TypeError, match="frozen"):
        event.value["by"].append("host")
    with pytest.raises(ValueError, match="frozen"):
        event.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_no_repr_tells_a_text() -> None:
    """The repr of an event shows neither a message's text nor the value of an app's event."""
    shown = repr(
        [
            MessageAdded(room_id="A", message=message(1, message="SECRET")),
            AppEvent(room_id="A", name="n", value="SECRET"),
        ]
    )
    assert "SECRET" not in shown


def told(events: Sequence[RoomEvent]) -> list[str]:
    """Return the types of events."""
    return [str(event.to_json()["type"]) for event in events]


PARTY = rules.create(room("A", "host", "ann", "bob"))
STEPS: dict[str, tuple[Callable[[Room], Room | None], list[str]]] = {
    "a join": (lambda one: rules.join(one, user("new")), ["userJoined"]),
    "a rejoin": (lambda one: rules.join(one, user("ann")), ["userJoined"]),
    "the last one's rejoin": (lambda one: rules.join(one, user("bob", name="Bobby")), ["userJoined"]),
    "a rejoin that changes nothing": (lambda one: rules.join(one, user("bob")), ["roomChanged"]),
    "a leave": (lambda one: rules.leave(one, "ann"), ["userLeft"]),
    "the last one's leave": (lambda one: rules.leave(one, "bob"), ["userLeft"]),
    "the host's leave": (lambda one: rules.leave(one, "host"), ["userLeft", "hostChanged"]),
    "a handover": (lambda one: rules.transfer_host(one, "bob"), ["hostChanged"]),
    "a handover to the host": (lambda one: rules.transfer_host(one, "host"), ["roomChanged"]),
    "a state": (lambda one: rules.update_video_state(one, VideoState(is_playing=True)), ["videoStateChanged"]),
    "a state again": (lambda one: rules.update_video_state(one, one.video_state), ["roomChanged"]),
    "a video": (lambda one: rules.set_video(one, "https://video.example/1", "youtube", now_ms=1), ["videoSet"]),
    "a new token": (lambda one: edited(one, host_token="SECRET-2"), ["roomChanged"]),
    "an unknown field": (lambda one: edited(one, settings={"theme": "dark"}), ["roomChanged"]),
    "another order": (lambda one: edited(one, users=one.users[::-1]), ["roomChanged"]),
    "a co-host": (lambda one: edited(one, users=(*one.users[:2], cohost(one.users[2]))), ["roomChanged"]),
    "a name": (lambda one: edited(one, host_name="Other"), ["hostChanged"]),
    "a host without the mark": (lambda one: edited(one, host_id="ann"), ["hostChanged", "roomChanged"]),
    "many things": (
        lambda one: edited(one, users=(one.users[0], user("new")), video_url="https://video.example/2", host_token="t"),
        ["userLeft", "userLeft", "userJoined", "videoSet", "roomChanged"],
    ),
    "nobody any more": (lambda one: edited(one, users=()), ["userLeft", "userLeft", "userLeft"]),
    "the end": (lambda _one: None, ["roomClosed"]),
    "nothing": (lambda one: one, []),
}


def edited(one: Room, **fields: Any) -> Room:
    """Return the room after an edit."""
    return rules.edit(one, lambda before: before.model_copy(update=fields))


def cohost(one: User) -> User:
    """Return a user who is host, too."""
    return one.model_copy(update={"is_host": True})


@pytest.mark.parametrize("step", STEPS)
def test_a_commit_is_told(step: str) -> None:
    """Each kind of commit makes its events, with the revision that it leads to."""
    rule, expected = STEPS[step]
    events = diff_rooms(PARTY, rule(PARTY))
    assert told(events) == expected
    assert {(event.room_id, event.rev) for event in events} <= {("A", 2)}


def test_events_tell_whom_and_what() -> None:
    """The events of a commit hold the user, the host and the video that it leads to."""
    after = rules.leave(PARTY, "host")
    assert after is not None
    assert diff_rooms(PARTY, after) == [
        UserLeft(room_id="A", rev=2, user=PARTY.users[0]),
        HostChanged(room_id="A", rev=2, host_id="ann", host_name="Name of ann"),
    ]
    after = rules.set_video(PARTY, "https://video.example/1", "youtube", now_ms=1)
    state = VideoState(last_update_time=1)
    assert diff_rooms(PARTY, after) == [
        VideoSet(room_id="A", rev=2, video_url="https://video.example/1", video_type="youtube", video_state=state)
    ]
    newcomer = user("new")
    assert diff_rooms(PARTY, rules.join(PARTY, newcomer)) == [UserJoined(room_id="A", rev=2, user=newcomer)]


def test_a_new_room_has_no_revision_to_compare() -> None:
    """A new room is a RoomChanged without a revision: who knew an older room of that id must read it all the same."""
    assert list(diff_rooms(None, PARTY)) == [RoomChanged(room_id="A")]
    assert list(diff_rooms(None, None)) == []


@pytest.mark.parametrize("step", STEPS)
def test_no_event_holds_the_host_token(step: str) -> None:
    """No commit's events hold the host token, old or new."""
    rule, _ = STEPS[step]
    written = b"".join(map(to_wire, diff_rooms(PARTY, rule(PARTY))))
    assert b"token-of-the-host" not in written
    assert b"SECRET" not in written
