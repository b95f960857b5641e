"""Clauses about values: whatever JSON can hold survives in every place, compared as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wnc_store import (
    AppEvent,
    ChatMessage,
    HostChanged,
    MessageAdded,
    RoomEvent,
    UserJoined,
    VideoSet,
    VideoState,
    VideoStateChanged,
)
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.events import drain
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability
from wnc_store_contract.operations import json_text

NUMBERS: tuple[int | float, ...] = (
    *(0, 1, -1, 7, 255, 256, 2**31 - 1, 2**31, 2**32, -(2**31) - 1, 1767225600000, 2**53 - 1, 2**53, 2**53 + 1),
    *(
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        -(2**63) - 1,
        10**21,
        10**22 + 1,
        10**30 + 7,
        123456789 * 10**40 + 1,
    ),
    *(0.5, -0.5, 0.1, 1 / 3, 2 / 3, 0.1 + 0.2, 12.34567890123456, 1e-7, 1e-6, 1e16 + 2, 1.5e21, 1e100, 1e-100),
    *(5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 3.4028234664e38, 16777217.5),
)
"""Numbers at the limits of the integers and floating point numbers of drivers and databases."""

VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "one": 1,
    "zero": 0,
    "the text 1": "1",
    "the text true": "true",
    "the text null": "null",
    "no text": "",
    "a NUL": "a\x00b",
    "controls": "".join(map(chr, range(32))),
    "half an emoji": "\ud83d",
    "line separators": "\u2028\u2029\x7f\x85\ufeff",
    "a date": "2026-01-01T00:00:00.000Z",
    "JSON": '{"a":1}',
    "an empty array": [],
    "an empty object": {},
    "nested empties": [[], {}, [[]], {"": {}}],
    "nulls": [None, [None], {"a": None, "b": {"c": None}}],
    "similar values": [0, False, "", None, "0", [], {}, [0], [None], [""]],
    "repeated values": [1, 1, 1, None, None],
    "numbers": list(NUMBERS),
    "keys": {"": 1, " ": 2, "a.b": 3, "$set": 4, "__proto__": 5, "constructor": 6, "1": 7, "01": 8, "A": 9, "a": 10},
    "more keys": {"\x00": 1, "id": 2, "\u00e5": 3, "a\u030a": 4, "\ud83d": 5, "x" * 300: 6, '"': 7, "\\": 8},
    "mixed": [{"a": [1, {"b": [2.5, None, {"c": []}]}]}, "x", [[[[[1]]]]]],
}
"""Values of each kind, by name."""


class ValueClauses:
    """Clauses with numbers, nulls and nested values."""

    @clause()
    async def test_every_value_survives_in_a_room(self, context: ContractContext) -> None:
        """Every JSON value in extra fields of a room, its users and its video state is read back as the same JSON."""
        store = await context.open()
        for number, (name, value) in enumerate(VALUES.items()):
            extra = {"value": value, f"key of {name}": value}
            made = room(
                f"R{number}",
                users=(user("host", is_host=True).with_extra(extra), user("guest").with_extra({"other": [value]})),
                video_state=VideoState(current_time=1, last_update_time=1).with_extra(extra),
            ).with_extra(extra)
            await store.rooms.create_room(made)
            stored = await store.rooms.get_room(made.id)
            assert stored is not None
            assert json_text(stored) == json_text(made.model_copy(update={"rev": 1})), f"{name} after create_room"
            joined = user("new").with_extra(extra)
            after = await store.rooms.add_user_to_room(made.id, joined)
            expected = json_text(made.model_copy(update={"rev": 2, "users": (*made.users, joined)}))
            assert json_text(after) == expected, f"{name}, as returned by add_user_to_room"
            stored = await store.rooms.get_room(made.id)
            assert stored is not None
            assert json_text(stored) == expected, f"{name} after add_user_to_room"

    @clause()
    async def test_every_number_survives_in_a_room(self, context: ContractContext) -> None:
        """Every number in the fields of a video state is read back as the same JSON after any write."""
        store = await context.open()
        await store.rooms.create_room(room())
        for rev, number in enumerate(NUMBERS, start=2):
            state = VideoState(is_playing=True, current_time=number, duration=number, last_update_time=number)
            after = await store.rooms.update_video_state(ROOM, state)
            stored = await store.rooms.get_room(ROOM)
            assert stored is not None
            assert (after.rev, stored.rev) == (rev, rev)
            assert json_text(after.video_state) == json_text(state), f"{number}, as returned by update_video_state"
            assert json_text(stored.video_state) == json_text(state), f"{number} after update_video_state"

    @clause()
    async def test_every_null_survives_in_a_room(self, context: ContractContext) -> None:
        """Fields that are null, or become null, are read back as null, and absent ones as absent."""
        store = await context.open()
        await store.rooms.create_room(room(host_token=None))
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert (stored.host_token, stored.video_url, stored.video_type, stored.model_extra) == (None, None, None, {})
        for update in (
            {"video_url": "", "video_type": "", "host_token": "", "host_name": ""},
            {"video_url": None, "video_type": "m3u8", "host_token": "t", "settings": None},
            {"video_url": "https://video.example/1", "video_type": None, "host_token": None, "settings": {"a": None}},
            {"video_url": None, "video_type": None, "settings": [None]},
        ):
            written = await store.rooms.edit_room(ROOM, lambda before, update=update: before.model_copy(update=update))
            stored = await store.rooms.get_room(ROOM)
            assert stored is not None
            assert json_text(stored) == json_text(written)
            assert {name: getattr(stored, name, None) for name in update} == update

    @clause(Capability.CHAT)
    async def test_every_value_survives_in_a_message(self, context: ContractContext) -> None:
        """Every JSON value in an extra field of a message, and every number as its timestamp, is preserved."""
        store = await context.open(chat_history_limit=200)
        sent: list[ChatMessage] = [
            message(number).with_extra({"value": value, f"key of {name}": value})
            for number, (name, value) in enumerate(VALUES.items())
        ]
        sent += [message(100 + number, timestamp=value) for number, value in enumerate(NUMBERS)]
        for entry in sent:
            await store.chat.add_message(entry)
        stored = await store.chat.get_messages(ROOM)
        assert [json_text(entry) for entry in stored] == [json_text(entry) for entry in sent]

    @clause(Capability.EVENTS)
    async def test_every_value_survives_in_an_event(self, context: ContractContext) -> None:
        """Every JSON value in a published event, at every place, is received as the same JSON."""
        store = await context.open()
        published: list[RoomEvent] = []
        for name, value in VALUES.items():
            extra = {"value": value}
            published += [
                AppEvent(room_id=ROOM, name=name, value=value).with_extra({"more": value}),
                UserJoined(room_id=ROOM, rev=1, user=user("guest").with_extra(extra)),
                VideoStateChanged(room_id=ROOM, rev=2, video_state=VideoState().with_extra(extra)),
                MessageAdded(room_id=ROOM, message=message(1).with_extra(extra)),
            ]
        published += [AppEvent(room_id=ROOM, name="number", value=number, rev=2**53 + 1) for number in NUMBERS]
        published += [
            VideoSet(room_id=ROOM, rev=1, video_url=None, video_type=None, video_state=VideoState(duration=0.1)),
            VideoSet(room_id=ROOM, rev=1, video_url="", video_type="", video_state=VideoState(duration=1e21)),
            HostChanged(room_id=ROOM, rev=0, host_id="host", host_name=""),
        ]
        async with store.events.subscribe(ROOM) as events:
            for event in published:
                await store.events.publish(ROOM, event)
            received = await drain(store, events)
        assert [json_text(event) for event in received] == [json_text(event) for event in published]

    @clause(Capability.EVENTS)
    async def test_every_value_survives_in_a_change(self, context: ContractContext) -> None:
        """Every JSON value in a published change of a room is received as the same JSON."""
        store = await context.open(publish_changes=True)
        await store.rooms.create_room(room())
        async with store.events.subscribe(ROOM) as events:
            expected: list[str] = []
            for name, value in VALUES.items():
                joined = user(f"u{len(expected)}").with_extra({"value": value})
                rev = (await store.rooms.add_user_to_room(ROOM, joined)).rev
                expected.append(json_text(UserJoined(room_id=ROOM, rev=rev, user=joined)))
                state = VideoState(current_time=rev).with_extra({"value": value, name: value})
                after = await store.rooms.update_video_state(ROOM, state)
                changed = VideoStateChanged(room_id=ROOM, rev=after.rev, video_state=after.video_state)
                expected.append(json_text(changed))
            received = await drain(store, events)
        assert [json_text(event) for event in received] == expected
