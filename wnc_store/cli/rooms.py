"""The commands `wnc-store rooms`, `wnc-store show` and `wnc-store delete`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import nsmallest
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from wnc_store.base.pages import pages
from wnc_store.cli.output import (
    add_row,
    ascii_json,
    err,
    format_age,
    format_state,
    format_ttl,
    out,
    pluralize,
    print_json,
    print_notice,
    sanitize,
    table,
)
from wnc_store.cli.reading import PAGE_SIZE, read_rooms
from wnc_store.cli.runtime import AsJson, async_command, run
from wnc_store.cli.store import RoomId, StoreOptions, open_cli_store, store_command
from wnc_store.errors import CorruptRecordError, NotSupportedError, RoomNotFoundError
from wnc_store.protocols import Store
from wnc_store.records.js_types import iso
from wnc_store.records.models import Record, Room


class RoomOrder(StrEnum):
    """The order of listed rooms."""

    CREATED = "created"
    USERS = "users"
    TTL = "ttl"
    ID = "id"
    NONE = "none"


class _ListedRoom(NamedTuple):
    id: str
    room: Room | None
    ttl: timedelta | None

    def to_json(self) -> dict[str, Any]:
        if self.room is None:
            return {"id": self.id, "readable": False, "ttlSeconds": _seconds(self.ttl)}
        return {
            "id": self.id,
            "readable": True,
            "hostId": self.room.host_id,
            "hostName": self.room.host_name,
            "users": len(self.room.users),
            "rev": self.room.rev,
            "videoUrl": self.room.video_url,
            "isPlaying": self.room.video_state.is_playing,
            "createdAt": iso(self.room.created_at),
            "ttlSeconds": _seconds(self.ttl),
        }


_SORT_KEYS: Mapping[RoomOrder, Callable[[_ListedRoom, Room], Any]] = {
    RoomOrder.CREATED: lambda _, room: -room.created_at.timestamp(),
    RoomOrder.USERS: lambda _, room: -len(room.users),
    RoomOrder.TTL: lambda listed, _: listed.ttl or timedelta(0),
    RoomOrder.ID: lambda listed, _: listed.id,
}


@store_command
@async_command
async def rooms(
    store_options: StoreOptions,
    *,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of rooms; 0 lists all.")] = 100,
    sort: Annotated[
        RoomOrder,
        typer.Option(
            help="Order: newest first (created), most users first (users), next to expire first (ttl), by id (id), "
            "or as the store lists them (none), which reads only the rooms that are shown."
        ),
    ] = RoomOrder.CREATED,
) -> None:
    """List the active rooms, newest first."""
    async with open_cli_store(store_options) as store:
        with err.status("reading the active rooms"):
            listed, total = await _list_rooms(store, limit, sort)
    if total is None:
        print_notice(f"The store has more than {pluralize(limit, 'room')}. Use --limit 0 to list all.")
    elif total > len(listed):
        print_notice(f"Showing {len(listed)} of {pluralize(total, 'room')}. Use --limit 0 to list all.")
    if as_json:
        print_json([entry.to_json() for entry in listed])
    elif listed:
        _print_rooms(listed)
    else:
        out.print("No rooms.")


def _print_rooms(listed: Sequence[_ListedRoom]) -> None:
    now = datetime.now(UTC)
    columns = "room", "host", "users", "video", "state", "age", "TTL"
    title = pluralize(len(listed), "active room")
    room_table = table(title, *columns, keep={"users", "state", "age", "TTL"})
    for room_id, room, ttl in listed:
        cells: list[object] = [Text("unreadable", style="red"), "", "", "", ""]
        if room is not None:
            state = "playing" if room.video_state.is_playing else "paused"
            age = format_age(room.created_at, now)
            cells = [room.host_name, len(room.users), room.video_url or "", state, age]
        add_row(room_table, [room_id, *cells, format_ttl(ttl)])
    out.print(room_table)


@store_command
@async_command
async def show(store_options: StoreOptions, room_id: RoomId, *, as_json: AsJson = False) -> None:
    """Show the users, the video, the TTL and the extra fields of a room."""
    async with open_cli_store(store_options) as store:
        room = await store.rooms.get_room(room_id)
        ttl = await store.rooms.room_ttl(room_id)
    if room is None:
        raise RoomNotFoundError(room_id)
    if as_json:
        shown = {name: value for name, value in room.to_json().items() if name not in {"hostToken", "host_token"}}
        print_json({"id": room_id, "ttlSeconds": _seconds(ttl), "room": shown})
        return
    fields = {
        "host": f"{room.host_name} ({room.host_id})",
        "host token": "set (not shown)" if room.host_token else "none",
        "video": room.video_url or "none",
        "video type": room.video_type or "none",
        "state": format_state(room.video_state),
        "created": iso(room.created_at),
        "revision": room.rev,
        "TTL": format_ttl(ttl),
    }
    _print_fields(f"room {room_id}", fields)
    if extra := {**_extra_fields(room), **_extra_fields(room.video_state, "videoState.")}:
        _print_fields(pluralize(len(extra), "extra field"), extra)
    if not room.users:
        out.print("No users.")
        return
    has_extra = any(map(_extra_fields, room.users))
    columns = "user", "name", "host", "joined", *(["extra fields"] if has_extra else [])
    user_table = table(pluralize(len(room.users), "user"), *columns, keep={"host"})
    for user in room.users:
        extra_cell = [", ".join(f"{name}: {value}" for name, value in _extra_fields(user).items())] if has_extra else []
        add_row(user_table, [user.id, user.name, "yes" if user.is_host else "", iso(user.joined_at), *extra_cell])
    out.print(user_table)


@store_command
def delete(
    store_options: StoreOptions,
    room_id: RoomId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a room with its chat, or a chat without a room. Ask first, unless --yes is given."""
    description = ""

    async def describe() -> None:
        nonlocal description
        async with open_cli_store(store_options) as store:
            description = await _describe(store, room_id)

    async def delete_room() -> None:
        async with open_cli_store(store_options) as store:
            await store.rooms.delete_room(room_id)

    run(describe())
    if not yes:
        # The store is closed during the question, because the event loop could not serve its connection.
        typer.confirm(sanitize(f"Delete {description}?").plain, abort=True, err=True)
    run(delete_room())
    if as_json:
        print_json({"id": room_id, "deleted": True})
    else:
        out.print(sanitize(f"deleted {description}"), soft_wrap=True)


async def _describe(store: Store, room_id: str) -> str:
    """Describe what a deletion of the room deletes.

    Raises:
        RoomNotFoundError: Neither the room nor its chat exists.
    """
    try:
        room = await store.rooms.get_room(room_id)
    except CorruptRecordError:
        return f"the unreadable room {room_id}"
    if room is not None:
        return f"room {room_id} of {room.host_name} with {pluralize(len(room.users), 'user')}"
    try:
        chat_ttl = await store.chat.chat_ttl(room_id)
    except NotSupportedError:
        chat_ttl = None
    if chat_ttl is None:
        raise RoomNotFoundError(room_id)
    return f"the chat of room {room_id}, which does not exist"


async def _list_rooms(store: Store, limit: int, order: RoomOrder) -> tuple[list[_ListedRoom], int | None]:
    """Return the first `limit` rooms, or all if it is 0, and the number of all rooms; None if that is not known."""
    listed: list[_ListedRoom] = []
    total = 0
    async for rooms_read in _read_rooms(store):
        listed += rooms_read
        total += len(rooms_read)
        if order is RoomOrder.NONE:
            if limit and len(listed) > limit:
                return listed[:limit], None
        elif limit:
            listed = nsmallest(limit, listed, key=lambda entry: _sort_key(entry, order))
    if order is not RoomOrder.NONE:
        listed.sort(key=lambda entry: _sort_key(entry, order))
    return listed, total


def _sort_key(entry: _ListedRoom, order: RoomOrder) -> tuple[Any, ...]:
    """Return the sort key of a room. Unreadable rooms follow the others."""
    return (True, entry.id) if entry.room is None else (False, _SORT_KEYS[order](entry, entry.room), entry.id)


async def _read_rooms(store: Store) -> AsyncGenerator[list[_ListedRoom]]:
    """Yield the active rooms in pages. The content of unreadable rooms is None."""
    async for page in pages(store.rooms.active_room_ids(), PAGE_SIZE):
        found = await read_rooms(store, page)
        ttls = await asyncio.gather(*map(store.rooms.room_ttl, page))
        yield [
            _ListedRoom(room_id, room if isinstance(room, Room) else None, ttl)
            for room_id, room, ttl in zip(page, found, ttls, strict=True)
            if room is not None
        ]


def _print_fields(title: str, fields: Mapping[str, object]) -> None:
    field_table = table(title, "field", "value", keep={"field"} if max(map(len, fields)) <= _KEPT_NAME else ())
    for name, value in fields.items():
        add_row(field_table, [name, value])
    out.print(field_table)


_KEPT_NAME = 20
"""Length of a field's name up to which only its value is cropped."""


def _extra_fields(record: Record, prefix: str = "") -> dict[str, str]:
    """Return the fields that the models do not declare, with their values as JSON. A host token is not included."""
    extra = record.model_extra
    hidden = {"hostToken", "host_token"}
    return {f"{prefix}{name}": ascii_json(value) for name, value in extra.items() if name not in hidden}


def _seconds(ttl: timedelta | None) -> float | None:
    return None if ttl is None or ttl == timedelta.max else ttl.total_seconds()
