"""Changes of declared fields by `replace`."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from pydantic import ValidationError

from local_variables import shown_with_traceback
from wnc_store import ChatMessage, Record, Room, User, VideoState, from_wire, to_wire
from wnc_store.records import models
from wnc_store.records.secret import Secret
from wnc_store_contract.factories import message, node_record, node_records, room, user

SECRET = "SECRET-9f1c"
KINDS = [Room, User, VideoState, ChatMessage]


def test_a_field_is_replaced() -> None:
    """replace() returns a copy with the new values, and keeps the other fields and the extra fields."""
    before = room().with_extra({"settings": {"theme": "dark"}, "host_name": "an extra field"})
    after = before.replace(host_name="Grace", users=())
    assert after == before.model_copy(update={"host_name": "Grace", "users": ()})
    assert (before.host_name, after.host_name) == ("Name of host", "Grace")
    assert after.model_extra == {"settings": {"theme": "dark"}, "host_name": "an extra field"}


def test_each_record_has_replace() -> None:
    """Users, video states and messages have replace(), too."""
    assert user("u").replace(name="Grace").name == "Grace"
    assert VideoState().replace(current_time=4.5).current_time == 4.5
    assert message(1).replace(message="changed").message == "changed"


@pytest.mark.parametrize("kind", KINDS)
def test_the_arguments_are_the_declared_fields(kind: type[Record]) -> None:
    """The typed arguments of replace() are the declared fields of the record with their types."""
    arguments = get_type_hints(getattr(models, f"{kind.__name__}Changes"))
    assert arguments == {name: field.annotation for name, field in kind.model_fields.items()}


@pytest.mark.parametrize(("name", "hint"), [("hostname", "host_name"), ("hostName", "host_name"), ("usres", "users")])
def test_a_misspelled_field_is_rejected(name: str, hint: str) -> None:
    """A name that is not a declared field raises TypeError, which names a similar field."""
    changes: dict[str, Any] = {name: "Grace"}
    with pytest.raises(TypeError, match=f"^'{name}' is not a field of Room: use '{hint}'"):
        room().replace(**changes)


def test_an_extra_field_is_not_replaced() -> None:
    """The name of an extra field raises TypeError, which names the declared fields and with_extra()."""
    changes: dict[str, Any] = {"zzz": 1}
    with pytest.raises(TypeError, match=r"use one of id, name, is_host, joined_at, or with_extra\(\)"):
        user("u").with_extra({"zzz": 0}).replace(**changes)


@pytest.mark.parametrize("changes", [{"host_name": 5}, {"users": ("Ada",)}, {"rev": -1}, {"video_state": None}])
def test_an_invalid_value_is_rejected(changes: dict[str, Any]) -> None:
    """An invalid value raises ValidationError."""
    with pytest.raises(ValidationError):
        room().replace(**changes)


def test_a_replaced_host_token_is_masked() -> None:
    """A new host token has a masked repr."""
    after = room().replace(host_token=SECRET)
    assert isinstance(after.host_token, Secret)
    assert after.verify_host_token(SECRET)


@pytest.mark.parametrize("changes", [{"host_token": SECRET, "rev": -1}, {"host_token": SECRET, "hostname": SECRET}])
def test_an_error_does_not_show_the_values(changes: dict[str, Any]) -> None:
    """Neither the error of replace() nor a local variable in its traceback contains a value."""
    found = room()
    with pytest.raises((TypeError, ValidationError)) as caught:
        found.replace(**changes)
    assert SECRET not in f"{caught.value}{shown_with_traceback(caught.value)}"


@pytest.mark.parametrize("name", node_records("room"))
def test_replaced_records_keep_the_preserved_json(name: str) -> None:
    """A record with a replaced field keeps the JSON of its other fields."""
    before = from_wire(Room, node_record(name), key=name)
    assert to_wire(before.replace(host_id=before.host_id)) == to_wire(before)


def test_private_attributes_are_kept() -> None:
    """A copy by replace() of a subclass keeps its fields and its private attributes."""

    class MyUser(User):
        """A user of an app."""

        color: str = "red"
        _note: str = ""

    guest = MyUser(id="u", name="U", color="blue")
    guest._note = "kept"
    after = guest.replace(name="V")
    assert (type(after), after.name, after.color, after._note) == (MyUser, "V", "blue", "kept")
