"""Mutants that alter JSON values, as databases, drivers and serializers may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from broken_stores.mutant import Mutants
from wnc_store import AppEvent, ChatMessage, MessageAdded, Room, RoomEvent, UserJoined, VideoState, rules
from wnc_store.base import SubscriberRegistry
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.rooms import MemoryRoomStore

MUTANTS = Mutants()

create, add, dispatch = MemoryRoomStore._create, MemoryChatStore._add, SubscriberRegistry.dispatch
update_video_state, edit = rules.update_video_state, rules.edit


def altered(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a JSON value in which `change` has replaced every member, from the inside out."""
    if isinstance(value, dict):
        value = {key: altered(member, change) for key, member in cast("dict[str, Any]", value).items()}
    elif isinstance(value, list):
        value = [altered(member, change) for member in cast("list[Any]", value)]
    return change(value)


def without_nulls(value: Any) -> Any:
    """Return an object without its null members, as a serializer that excludes them does."""
    if isinstance(value, dict):
        return {key: member for key, member in cast("dict[str, Any]", value).items() if member is not None}
    return value


def as_int64(value: Any) -> Any:
    """Return the nearest 64-bit integer."""
    return max(-(2**63), min(2**63 - 1, value)) if type(value) is int else value


def in_15_digits(value: Any) -> Any:
    """Return a number in 15 significant digits, as `%.15g` prints it."""
    return float(f"{value:.15g}") if isinstance(value, float) else value


def without_empties(value: Any) -> Any:
    """Return null for an empty object, as an ORM's JSON column may do."""
    return None if value == {} else value


def with_altered_users(change: Callable[[Any], Any]) -> Callable[[MemoryRoomStore, Room], Awaitable[bool]]:
    """Return a `_create` that alters the extra fields of users."""

    async def broken(self: MemoryRoomStore, room: Room) -> bool:
        users = tuple(
            user.with_extra({key: altered(value, change) for key, value in user.model_extra.items()})
            for user in room.users
        )
        return await create(self, room.model_copy(update={"users": users}))

    return broken


for change, name in (
    (without_nulls, "nulls within extra fields of users are dropped"),
    (as_int64, "integers within extra fields of users are 64-bit"),
    (in_15_digits, "numbers within extra fields of users have 15 digits"),
    (without_empties, "empty objects within extra fields of users are null"),
):
    MUTANTS.breaks((MemoryRoomStore, "_create"), "every_value_survives_in_a_room", name=name)(
        with_altered_users(change)
    )


@MUTANTS.breaks((rules, "update_video_state"), "every_number_survives_in_a_room")
def positions_have_15_digits(room: Room, state: VideoState) -> Room:
    """Store the position of a video in 15 significant digits."""
    return update_video_state(room, state.model_copy(update={"current_time": in_15_digits(state.current_time)}))


@MUTANTS.breaks((rules, "edit"), "every_null_survives_in_a_room", "similar_texts_are_apart")
def empty_texts_are_null(room: Room, change: Callable[[Room], Room]) -> Room:
    """Store an empty URL as null, as Oracle does."""
    after = edit(room, change)
    return after.model_copy(update={"video_url": after.video_url or None})


@MUTANTS.breaks((rules, "edit"), "every_null_survives_in_a_room")
def a_type_without_a_url_is_null(room: Room, change: Callable[[Room], Room]) -> Room:
    """Store the type of a video only together with its URL."""
    after = edit(room, change)
    return after if after.video_url is not None else after.model_copy(update={"video_type": None})


@MUTANTS.breaks((MemoryChatStore, "_add"), "every_value_survives_in_a_message")
async def timestamps_are_64_bit(self: MemoryChatStore, message: ChatMessage) -> None:
    """Store timestamps as 64-bit integers."""
    await add(self, message.model_copy(update={"timestamp": as_int64(message.timestamp)}))


def with_altered_events(
    alter: Callable[[RoomEvent], RoomEvent],
) -> Callable[[SubscriberRegistry, Iterable[RoomEvent]], None]:
    """Return a `dispatch` that alters events."""
    return lambda self, events: dispatch(self, [alter(event) for event in events])


def with_rounded_value(event: RoomEvent) -> RoomEvent:
    """Return an event of an app with numbers of 15 digits."""
    if isinstance(event, AppEvent):
        return event.model_copy(update={"value": altered(event.value, in_15_digits)})
    return event


def with_user_without_nulls(event: RoomEvent) -> RoomEvent:
    """Return an event of a join without nulls in extra fields of the user."""
    if not isinstance(event, UserJoined) or event.rev == 1:
        return event
    extra = {name: altered(value, without_nulls) for name, value in event.user.model_extra.items()}
    return event.model_copy(update={"user": event.user.with_extra(extra)})


def with_message_without_nulls(event: RoomEvent) -> RoomEvent:
    """Return an event of a message without extra fields that are null."""
    if not isinstance(event, MessageAdded):
        return event
    extra = {name: altered(value, without_empties) for name, value in event.message.model_extra.items()}
    return event.model_copy(update={"message": event.message.with_extra(extra)})


DISPATCH = (SubscriberRegistry, "dispatch")
MUTANTS.breaks(DISPATCH, "every_value_survives_in_an_event", name="numbers of events have 15 digits")(
    with_altered_events(with_rounded_value)
)
MUTANTS.breaks(DISPATCH, "every_value_survives_in_an_event", name="empty objects in events of messages are null")(
    with_altered_events(with_message_without_nulls)
)
MUTANTS.breaks(DISPATCH, "every_value_survives_in_a_change", name="events of joins exclude nulls")(
    with_altered_events(with_user_without_nulls)
)
