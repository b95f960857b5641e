"""Events as records, and the events of a commit."""

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
    MessageChanged,
    MessageRemoved,
    MessagesCleared,
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
    "messageChanged": MessageChanged(room_id="A", message=message(1, "A", message="cut \ud83d", edited=True)),
    "messageRemoved": MessageRemoved(room_id="A", message_id="m\ud83d"),
    "messagesCleared": MessagesCleared(room_id="A"),
    "appEvent": AppEvent(room_id="A", name="typing", value={"by": ["guest"], "\ud83d": None}),
    "resync": Resync(room_id="A"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_survives_the_wire(name: str) -> None:
    """Each kind of event is read back unchanged from its JSON, whose `type` names the kind."""
    event = EVENTS[name]
    data = to_wire(event)
    assert json.loads(data)["type"] == name
    decoded = from_wire(RoomEvent, data, key="channel")
    assert decoded == event
    assert type(decoded) is type(event)


def test_every_kind_has_a_sample() -> None:
    """The samples of these tests include every kind of event."""
    assert {type(event) for event in EVENTS.values()} == set(RoomEvent.__subclasses__())


def test_an_event_is_camel_case_json() -> None:
    """The JSON of an event is camelCase and omits a missing revision."""
    assert json.loads(to_wire(EVENTS["hostChanged"])) == {
        "roomId": "A",
        "rev": 4,
        "type": "hostChanged",
        "hostId": "guest",
        "hostName": "Guest",
    }
    assert json.loads(to_wire(EVENTS["roomClosed"])) == {"roomId": "A", "type": "roomClosed"}


def test_extra_fields_of_an_event_survive() -> None:
    """Extra fields of an event are kept."""
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
def test_an_invalid_event_is_corrupt(data: bytes) -> None:
    """An invalid event raises CorruptRecordError without any part of the data."""
    with pytest.raises(CorruptRecordError, match="channel") as caught:
        from_wire(RoomEvent, data, key="channel")
    assert "SECRET" not in repr(caught.value) + str(caught.value)
    assert caught.value.__context__ is None


def test_an_event_is_frozen() -> None:
    """Neither an event nor the value of an AppEvent can be modified."""
    event = AppEvent(room_id="A", name="typing", value={"by": ["guest"]})
    with pytest.raises(TypeError, match="frozen"):
        event.value["by"].append("host")
    with pytest.raises(ValueError, match="frozen"):
        event.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_reprs_exclude_texts() -> None:
    """The repr of an event contains neither the text of a message nor the value of an AppEvent."""
    shown = repr(
        [
            MessageAdded(room_id="A", message=message(1, message="SECRET")),
            MessageChanged(room_id="A", message=message(1, message="SECRET")),
            AppEvent(room_id="A", name="n", value="SECRET"),
        ]
    )
    assert "SECRET" not in shown


def types_of(events: Sequence[RoomEvent]) -> list[str]:
    """Return the types of events."""
    return [str(event.to_json()["type"]) for event in events]


PARTY = rules.create(room("A", "host", "ann", "bob"))
STEPS: dict[str, tuple[Callable[[Room], Room | None], list[str]]] = {
    "a join": (lambda party: rules.join(party, user("new")), ["userJoined"]),
    "a rejoin": (lambda party: rules.join(party, user("ann")), ["userJoined"]),
    "the last one's rejoin": (lambda party: rules.join(party, user("bob", name="Bobby")), ["userJoined"]),
    "a rejoin that changes nothing": (lambda party: rules.join(party, user("bob")), ["roomChanged"]),
    "a leave": (lambda party: rules.leave(party, "ann"), ["userLeft"]),
    "the last one's leave": (lambda party: rules.leave(party, "bob"), ["userLeft"]),
    "the host's leave": (lambda party: rules.leave(party, "host"), ["userLeft", "hostChanged"]),
    "a handover": (lambda party: rules.transfer_host(party, "bob"), ["hostChanged"]),
    "a handover to the host": (lambda party: rules.transfer_host(party, "host"), ["roomChanged"]),
    "a state": (lambda party: rules.update_video_state(party, VideoState(is_playing=True)), ["videoStateChanged"]),
    "a state again": (lambda party: rules.update_video_state(party, party.video_state), ["roomChanged"]),
    "a video": (lambda party: rules.set_video(party, "https://video.example/1", "youtube", now_ms=1), ["videoSet"]),
    "a new token": (lambda party: edited(party, host_token="SECRET-2"), ["roomChanged"]),
    "an extra field": (lambda party: edited(party, settings={"theme": "dark"}), ["roomChanged"]),
    "another order": (lambda party: edited(party, users=party.users[::-1]), ["roomChanged"]),
    "a co-host": (lambda party: edited(party, users=(*party.users[:2], cohost(party.users[2]))), ["roomChanged"]),
    "a name": (lambda party: edited(party, host_name="Other"), ["hostChanged"]),
    "a host without is_host": (lambda party: edited(party, host_id="ann"), ["hostChanged", "roomChanged"]),
    "several changes": (
        lambda party: edited(
            party, users=(party.users[0], user("new")), video_url="https://video.example/2", host_token="t"
        ),
        ["userLeft", "userLeft", "userJoined", "videoSet", "roomChanged"],
    ),
    "no users": (lambda party: edited(party, users=()), ["userLeft", "userLeft", "userLeft"]),
    "a deletion": (lambda _party: None, ["roomClosed"]),
    "no change": (lambda party: party, []),
}


def edited(party: Room, **fields: Any) -> Room:
    """Return the room after an edit."""
    return rules.edit(party, lambda before: before.model_copy(update=fields))


def cohost(guest: User) -> User:
    """Return the user as an additional host."""
    return guest.model_copy(update={"is_host": True})


@pytest.mark.parametrize("step", STEPS)
def test_a_commit_produces_events(step: str) -> None:
    """Each kind of commit produces its events with the new revision."""
    rule, expected = STEPS[step]
    events = diff_rooms(PARTY, rule(PARTY))
    assert types_of(events) == expected
    assert {(event.room_id, event.rev) for event in events} <= {("A", 2)}


@pytest.mark.parametrize("step", STEPS)
def test_events_exclude_the_host_token(step: str) -> None:
    """The events of a commit contain neither the old nor the new host token."""
    rule, _ = STEPS[step]
    written = b"".join(map(to_wire, diff_rooms(PARTY, rule(PARTY))))
    assert b"token-of-the-host" not in written
    assert b"SECRET" not in written
