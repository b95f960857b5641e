"""Operations on a room and its chat: the call to a store, and the expected result according to the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from wnc_store import ChatMessage, Room, RoomExistsError, RoomNotFoundError, Store, StoreError, rules, to_wire
from wnc_store.records.js_types import to_milliseconds
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import scripts

ROOM = "A"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAT_LIMIT = 2


class State(NamedTuple):
    """The stored state of a room.

    Attributes:
        room: the room, or None.
        chat: the kept messages, oldest first.
    """

    room: Room | None
    chat: tuple[ChatMessage, ...] = ()


Step = tuple[State, Any]
"""The state after an operation and the caller's result or StoreError."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: shown in reports.
        call: calls the store.
        apply: applies the operation to a state.
        fits: whether a command can belong to the operation.
    """

    name: str
    call: Callable[[Store], Awaitable[Any]]
    apply: Callable[[State], Step]
    fits: Callable[[Sequence[bytes]], bool]


def told(result: Any) -> Any:
    """Return a comparable form of a result: the bytes of records, the type of errors."""
    if isinstance(result, StoreError):
        return type(result).__name__
    if isinstance(result, Room | ChatMessage):
        return to_wire(result)
    if isinstance(result, list):
        return [to_wire(one) for one in result]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return result


def _changes(command: Sequence[bytes]) -> bool:
    return command[1] == scripts.COMMIT.sha and _before(command) != b""


def _creates(command: Sequence[bytes]) -> bool:
    return command[1] == scripts.COMMIT.sha and _before(command) == b""


def _before(command: Sequence[bytes]) -> bytes:
    """Return the first argument of a script, which follows its keys."""
    return command[3 + int(command[2])]


def _nothing(_command: Sequence[bytes]) -> bool:
    return False


def _change(name: str, call: Callable[[Store], Awaitable[Any]], rule: Callable[[Room], Room | None]) -> Operation:
    """Return an update of an existing room."""

    def apply(state: State) -> Step:
        if state.room is None:
            return state, RoomNotFoundError(ROOM)
        try:
            after = rule(state.room)
        except StoreError as error:
            return state, error
        return (State(after, state.chat) if after is not None else State(None)), after

    return Operation(name, call, apply, _changes)


def join(name: str) -> Operation:
    """Return a join of a user."""
    joined = user(name)
    return _change(
        f"join {name}",
        lambda store: store.rooms.add_user_to_room(ROOM, joined),
        lambda before: rules.join(before, joined),
    )


def leave(name: str) -> Operation:
    """Return a leave of a user."""
    change = _change(
        f"leave {name}",
        lambda store: store.rooms.remove_user_from_room(ROOM, name),
        lambda before: rules.leave(before, name),
    )
    return Operation(
        change.name,
        change.call,
        lambda state: change.apply(state) if state.room is not None else (state, None),
        change.fits,
    )


def transfer(name: str) -> Operation:
    """Return a transfer of the host role to a user."""
    return _change(
        f"transfer {name}",
        lambda store: store.rooms.transfer_host(ROOM, name),
        lambda before: rules.transfer_host(before, name),
    )


def edit(name: str = "edits") -> Operation:
    """Return an edit that increments an extra field."""

    def count(before: Room) -> Room:
        return before.with_extra({name: before.model_extra.get(name, 0) + 1})

    return _change(
        f"edit {name}", lambda store: store.rooms.edit_room(ROOM, count), lambda before: rules.edit(before, count)
    )


def set_video(url: str = "https://video.example/1") -> Operation:
    """Return a change of the video."""
    return _change(
        f"set_video {url}",
        lambda store: store.rooms.set_video_url(ROOM, url),
        lambda before: rules.set_video(before, url, "youtube", now_ms=to_milliseconds(NOW)),
    )


def create(host: str = "creator") -> Operation:
    """Return a creation of the room by a new host."""
    made = room(ROOM, host, host_token=f"token-of-{host}")

    def apply(state: State) -> Step:
        if state.room is not None:
            return state, RoomExistsError(ROOM)
        return State(rules.create(made)), None

    return Operation(
        f"create {host}",
        lambda store: store.rooms.create_room(made),
        apply,
        _creates,
    )


def delete() -> Operation:
    """Return a deletion of the room."""
    return Operation(
        "delete",
        lambda store: store.rooms.delete_room(ROOM),
        lambda state: (State(None), state.room is not None),
        lambda command: command[1] == scripts.REMOVE.sha,
    )


def say(number: int) -> Operation:
    """Return an addition of a message."""
    said = message(number, ROOM)

    def apply(state: State) -> Step:
        kept = rules.append(state.chat, said, CHAT_LIMIT)
        return (state if kept is None else State(state.room, kept)), None

    return Operation(
        f"say {number}",
        lambda store: store.chat.add_message(said),
        apply,
        lambda command: any(part.startswith(to_wire(said)) for part in command),
    )


def correct(number: int) -> Operation:
    """Return an edit of a message that increments an extra field."""

    def apply(state: State) -> Step:
        current = rules.newest(state.chat, f"m{number}", CHAT_LIMIT)
        if current is None:
            return state, None
        return _with_message(state, number, edited := like(current)), edited

    return Operation(
        f"correct {number}",
        lambda store: store.chat.edit_message(ROOM, f"m{number}", like),
        apply,
        lambda command: command[1] == scripts.EDIT.sha and _before(command) != b"",
    )


def remove(number: int) -> Operation:
    """Return a removal of a message."""

    def apply(state: State) -> Step:
        is_found = rules.newest(state.chat, f"m{number}", CHAT_LIMIT) is not None
        return (_with_message(state, number, None) if is_found else state), is_found

    return Operation(
        f"remove {number}",
        lambda store: store.chat.remove_message(ROOM, f"m{number}"),
        apply,
        lambda command: command[1] == scripts.EDIT.sha and _before(command) == b"",
    )


def _with_message(state: State, number: int, new: ChatMessage | None) -> State:
    return State(state.room, rules.replace_message(state.chat, f"m{number}", new, CHAT_LIMIT))


def clear() -> Operation:
    """Return a deletion of the chat."""
    return Operation(
        "clear",
        lambda store: store.chat.clear_messages(ROOM),
        lambda state: (State(state.room), None),
        lambda command: command[1] == scripts.CLEAR.sha,
    )


def look() -> Operation:
    """Return a read of the room."""
    return Operation("look", lambda store: store.rooms.get_room(ROOM), lambda state: (state, state.room), _nothing)


def read_chat() -> Operation:
    """Return a read of the chat."""
    return Operation(
        "read",
        lambda store: store.chat.get_messages(ROOM),
        lambda state: (state, list(state.chat)),
        _nothing,
    )
