"""The room that guests may see, and the room that web frameworks must not serialize."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticSerializationError

from wnc_store import (
    AppEvent,
    MessageAdded,
    PublicRoom,
    Room,
    RoomEvent,
    UserJoined,
    UserLeft,
    VideoSet,
    VideoState,
    VideoStateChanged,
    from_wire,
    to_json_text,
)
from wnc_store.records.fields import wire_fields
from wnc_store_contract.factories import message, node_record, node_records, room, user

SECRET = "SECRET-9f1c"


def private_room() -> Room:
    """Return a room whose host token and extra fields are secret."""
    state = VideoState(last_update_time=1).with_extra({"stream": SECRET, "rate": 1.5})
    users = (user("host", is_host=True).with_extra({"email": SECRET, "color": "red"}), user("guest"))
    extra = {"passwordHash": SECRET, "host_token": SECRET, "settings": {"theme": "dark"}}
    return room(host_token=SECRET, users=users, video_state=state).with_extra(extra)


class PartyRoom(PublicRoom):
    """A public room with settings."""

    settings: dict[str, str]


def test_the_fields_of_a_public_room() -> None:
    """A public room has the declared fields of a room in the same order, except the host token."""
    expected = [(field.name, field.key) for field in wire_fields(Room) if field.name != "host_token"]
    assert [(field.name, field.key) for field in wire_fields(PublicRoom)] == expected


def test_a_public_room_has_no_extra_fields() -> None:
    """to_public() returns the declared fields, without the extra fields of the room, its users and its video state."""
    public = private_room().to_public()
    plain = room(host_token=None, video_state=VideoState(last_update_time=1))
    assert public.to_json() == {**plain.to_json(), "users": public.to_json()["users"], "rev": 0}
    assert [one.model_extra for one in (public, public.video_state, *public.users)] == [{}] * 4
    assert SECRET not in to_json_text(public.to_json())
    assert SECRET not in public.model_dump_json()


@pytest.mark.parametrize("name", node_records("room"))
def test_a_public_room_keeps_the_preserved_json(name: str) -> None:
    """Dates and numbers in other formats have the same JSON in a public room as in the room."""
    found = from_wire(Room, node_record(name), key=name)
    public = found.to_public(include=found.model_extra.keys()).to_json()
    stored = found.to_json()
    for key in ("createdAt", "id", "hostName", "videoUrl", *found.model_extra):
        assert public[key] == stored[key]
    assert public["rev"] == found.rev


def test_extra_fields_are_included_by_name() -> None:
    """`include` adds the named extra fields of the room, of its users and of its video state."""
    public = private_room().to_public(include={"settings", "users.color", "videoState.rate", "absent"})
    assert public.model_extra == {"settings": {"theme": "dark"}}
    assert [one.model_extra for one in public.users] == [{"color": "red"}, {}]
    assert public.video_state.model_extra == {"rate": 1.5}
    assert SECRET not in to_json_text(public.to_json())


def test_a_name_belongs_to_one_record() -> None:
    """A name without a prefix includes no extra field of a user or of the video state."""
    public = private_room().to_public(include={"email", "color", "rate", "stream"})
    assert to_json_text(public.to_json()) == to_json_text(private_room().to_public().to_json())


@pytest.mark.parametrize("name", ["hostToken", "host_token", "videoUrl", "users.name", "videoState.isPlaying"])
def test_a_declared_field_is_not_included(name: str) -> None:
    """The name of a declared field in `include` raises ValueError."""
    with pytest.raises(ValueError, match=f"extra fields only, got '{name}'"):
        private_room().to_public(include={name})


def test_include_is_not_a_string() -> None:
    """A string instead of a set of names raises TypeError."""
    names: Any = "settings"
    with pytest.raises(TypeError, match="set of names"):
        private_room().to_public(include=names)


def test_validation_drops_extra_fields() -> None:
    """Validating a public room from a room, from its JSON or from keyword arguments drops extra fields."""
    expected = private_room().to_public()
    members: dict[str, Any] = private_room().to_json()
    for public in (
        PublicRoom.model_validate(private_room()),
        PublicRoom.model_validate(members),
        PublicRoom.model_validate_json(to_json_text(members)),
        PublicRoom(**members),
    ):
        assert public == expected
        assert SECRET not in public.model_dump_json()


def test_validation_keeps_a_public_room() -> None:
    """A public room is validated without a copy, so that its included extra fields are kept."""
    public = private_room().to_public(include={"settings"})
    assert TypeAdapter(PublicRoom).validate_python(public, from_attributes=True) is public


def test_a_subclass_declares_an_extra_field() -> None:
    """A model derived from PublicRoom can declare an extra field, and is validated from a room."""
    public = PartyRoom.model_validate(private_room())
    assert public.settings == {"theme": "dark"}
    assert SECRET not in public.model_dump_json()


def test_pydantic_and_to_json_agree() -> None:
    """The JSON by pydantic, which FastAPI uses, equals to_json()."""
    for name in node_records("room"):
        found = from_wire(Room, node_record(name), key=name)
        public = found.to_public(include=found.model_extra.keys())
        assert public.model_dump(mode="json") == public.to_json()


class Response(BaseModel):
    """A response with a room."""

    room: Room


def test_a_room_is_not_serialized() -> None:
    """Pydantic raises an error instead of serializing a room, alone or in another value, and does not show a secret."""
    found = private_room()
    for serialize in (
        found.model_dump,
        found.model_dump_json,
        Response(room=found).model_dump,
        Response(room=found).model_dump_json,
        lambda: TypeAdapter(dict[str, Any]).dump_json({"room": found}),
        lambda: TypeAdapter(Any).dump_python([found], mode="json"),
    ):
        with pytest.raises(PydanticSerializationError, match=r"use to_public\(\)") as caught:
            serialize()
        assert SECRET not in str(caught.value)


class PublicResponse(BaseModel):
    """A response with a public room."""

    room: PublicRoom


def test_a_room_is_not_serialized_as_a_public_room() -> None:
    """Pydantic raises an error instead of serializing a room that takes the place of a public room."""
    found: Any = private_room()
    response = PublicResponse.model_construct(room=found)
    for serialize in (
        lambda: TypeAdapter(PublicRoom).dump_json(found),
        lambda: TypeAdapter(PublicRoom).dump_python(found),
        lambda: TypeAdapter(PartyRoom).dump_json(found),
        lambda: TypeAdapter(list[PublicRoom | None]).dump_json([found], warnings=False),
        response.model_dump,
        response.model_dump_json,
    ):
        with pytest.raises(PydanticSerializationError, match=r"use to_public\(\)") as caught:
            serialize()
        assert SECRET not in str(caught.value)


def test_a_public_room_takes_the_options_of_pydantic() -> None:
    """A public room, or one of a derived model, is serialized with `include`, `exclude` and `by_alias`."""
    public = private_room().to_public(include={"settings"})
    assert public.model_dump(include={"host_id", "settings"}, by_alias=False) == {
        "host_id": public.host_id,
        "settings": {"theme": "dark"},
    }
    assert public.model_dump(exclude={"users"}).keys() == public.to_json().keys() - {"users"}
    assert TypeAdapter(PublicRoom).dump_json(public) == public.model_dump_json().encode()
    derived = PartyRoom.model_validate(private_room())
    assert derived.model_dump(mode="json")["settings"] == {"theme": "dark"}


def test_the_json_schema_of_a_public_room_names_its_fields() -> None:
    """The JSON schema of a response, which documents an API, has the fields of a public room."""
    schema = PublicRoom.model_json_schema(mode="serialization")
    assert schema["properties"].keys() == {field.key for field in wire_fields(PublicRoom)}


def test_a_room_is_serialized_on_request() -> None:
    """to_json() contains the host token and all extra fields."""
    assert json.loads(to_json_text(private_room().to_json()))["hostToken"] == SECRET


def test_a_public_event_has_no_private_fields() -> None:
    """The public form of an event has only the named extra fields of its user and its video state."""
    host, state = private_room().users[0], private_room().video_state
    events: list[RoomEvent] = [
        UserJoined(room_id="A", rev=1, user=host),
        UserLeft(room_id="A", rev=2, user=host),
        VideoStateChanged(room_id="A", rev=3, video_state=state),
        VideoSet(room_id="A", rev=4, video_url=None, video_type=None, video_state=state),
    ]
    for event in events:
        assert SECRET not in to_json_text(event.to_public().to_json())
        public = event.to_public(include={"users.color", "videoState.rate"})
        text = to_json_text(public.to_json())
        assert ("red" in text) is hasattr(event, "user")
        assert ("1.5" in text) is hasattr(event, "video_state")
        assert SECRET not in text
        assert (type(public), public.rev) == (type(event), event.rev)


@pytest.mark.parametrize(
    "event",
    [
        MessageAdded(room_id="A", message=message(1).with_extra({"replyTo": "m0"})),
        AppEvent(room_id="A", name="typing", value={"user": {"id": "u1"}}),
    ],
)
def test_messages_and_app_events_are_public(event: RoomEvent) -> None:
    """The public form of a message's event and of an app's event is equal to the event."""
    assert event.to_public() == event
