"""Values with a masked repr: the host token, and encoded records."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from local_variables import shown_with_traceback
from wnc_store import Room, SecretBytes, StoreError, from_wire, open_store, to_wire
from wnc_store.records.secret import Secret
from wnc_store_contract.factories import room

SECRET = "SECRET-9f1c"


def rooms() -> dict[str, Room]:
    """Return rooms with a host token from every source."""
    made = room("A", host_token=SECRET)
    return {
        "constructor": made,
        "wire": from_wire(Room, to_wire(made), key="room:A"),
        "JSON": Room.model_validate_json(to_wire(made)),
        "pickle": pickle.loads(pickle.dumps(made)),
        "copy": copy.deepcopy(made),
    }


@pytest.mark.parametrize("source", rooms())
def test_a_host_token_has_a_masked_repr(source: str) -> None:
    """The host token is equal to its plain string and encoded as one, and its repr does not show it."""
    found = rooms()[source]
    assert found.host_token == SECRET
    assert hash(found.host_token) == hash(SECRET)
    assert f"{found.host_token}" == SECRET
    assert type(str(found.host_token)) is str
    assert found.verify_host_token(SECRET)
    assert SECRET not in repr([found.host_token, found, found.__dict__, to_wire(found)])
    assert json.loads(to_wire(found))["hostToken"] == SECRET
    assert type(found.to_json()["hostToken"]) is str


def test_a_new_host_token_is_masked() -> None:
    """The token of a new room is masked, and a room without a token has None."""
    host = room("A").users[0]
    assert isinstance(Room.hosted_by(host, room_id="A").host_token, Secret)
    assert room("A", host_token=None).host_token is None


def test_a_part_of_a_secret_is_masked() -> None:
    """Tools that shorten a value before they show it do not show a part of it."""
    assert repr(Secret(SECRET)[:6]) == repr(Secret(SECRET)) == "'**********'"
    data = SecretBytes(SECRET.encode())
    assert (repr(data), repr(data[:6]), str(data)) == ("<11 bytes>", "<6 bytes>", "<11 bytes>")
    assert (data, data[0], hash(data)) == (SECRET.encode(), ord("S"), hash(SECRET.encode()))


async def test_the_store_masks_a_plain_host_token() -> None:
    """A host token that a caller set by model_copy is masked when the room is stored and read."""
    async with open_store("memory://") as store:
        await store.rooms.create_room(room("A").model_copy(update={"host_token": SECRET}))
        found = await store.rooms.get_room("A")
        assert found is not None
        assert isinstance(found.host_token, Secret)
        edited = await store.rooms.edit_room("A", lambda found: found.model_copy(update={"host_token": f"{SECRET}2"}))
        assert isinstance(edited.host_token, Secret)


@pytest.mark.parametrize("name", ["host_token", "hostToken", "no_such_field"])
def test_an_assignment_does_not_show_its_value(name: str) -> None:
    """A record is frozen, and neither the error nor a local variable contains the value of the assignment."""
    found = room("A", host_token=f"{SECRET}1")
    with pytest.raises(ValidationError, match="frozen") as caught:
        setattr(found, name, f"{SECRET}2")
    assert caught.value.errors()[0]["loc"] == (name,)
    assert SECRET not in f"{caught.value}{caught.value.errors()}{shown_with_traceback(caught.value)}"
    assert found.host_token == f"{SECRET}1"


def test_a_half_built_record_has_a_repr() -> None:
    """A record whose validation has not finished, as a traceback may contain it, has a repr."""
    assert repr(Room.__new__(Room)) == "Room()"
    invalid: dict[str, Any] = {"id": 5}
    with pytest.raises(ValidationError) as caught:
        Room(**invalid)
    assert "Room()" in shown_with_traceback(caught.value)


async def test_no_local_variable_of_a_refused_write_shows_the_host_token() -> None:
    """The traceback of a refused write in memory does not show the host token."""
    async with open_store("memory://") as store:
        await store.rooms.create_room(room("A", host_token=SECRET))
        for write in (
            lambda: store.rooms.create_room(room("A", host_token=SECRET)),
            lambda: store.rooms.create_room(room("a b", host_token=SECRET)),
            lambda: store.rooms.update_room("A", room("A", host_token=SECRET, host_name="x" * 1000)),
            lambda: store.rooms.transfer_host("A", "nobody"),
        ):
            with pytest.raises(StoreError) as caught:
                await write()
            assert SECRET not in shown_with_traceback(caught.value)
