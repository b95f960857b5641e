"""The built-in commands of the command line."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from wnc_store import CorruptRecordError, Room, RoomNotFoundError, Store, __version__
from wnc_store.cli.demo import run_demo
from wnc_store.cli.output import (
    Exit,
    add_row,
    err,
    format_state,
    format_timestamp,
    format_ttl,
    out,
    pluralize,
    print_json,
    print_notice,
    sanitize,
    table,
)
from wnc_store.cli.plugins import PluginGroup
from wnc_store.cli.runtime import AsJson, Url, UrlArgument, async_command, open_cli_store, refuse_url, run
from wnc_store.cli.top import top
from wnc_store.cli.transfer import export_rooms, import_rooms
from wnc_store.cli.watch import watch_room
from wnc_store.records.js_types import iso

app = typer.Typer(
    name="wnc-store",
    cls=PluginGroup,
    help="Inspect and clean up a store of watch-party rooms, and verify backends against the contract. Exit codes: "
    "0 success, 1 failure or not found, 2 usage error, 3 server unavailable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RoomId = Annotated[str, typer.Argument(metavar="ROOM", help="Room id.", callback=refuse_url)]


def _print_version(value: bool) -> None:
    if value:
        out.print(f"wnc-store {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options that precede a command."""


@app.command()
def demo(
    url: Annotated[str | None, typer.Option("--url", help="Run on this store instead of in memory.")] = None,
) -> None:
    """Demonstrate the life cycle of a room, in memory or, with --url, on a store under a separate key prefix."""
    run(run_demo("memory://" if url is None else url))


@app.command()
@async_command
async def rooms(
    *,
    url: Url = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of rooms; 0 lists all.")] = 100,
) -> None:
    """List the active rooms."""
    async with open_cli_store(url) as store:
        listed, more = await _list_rooms(store, limit)
    if more:
        print_notice(f"The store has more than {pluralize(limit, 'room')}. Use --limit 0 to list all.")
    if as_json:
        print_json([_room_json(*entry) for entry in listed])
        return
    room_table = table(pluralize(len(listed), "active room"), "room", "host", "users", "video", "state", "TTL")
    for room_id, room, ttl in listed:
        cells: list[object] = [Text("unreadable", style="red"), "", "", ""]
        if room is not None:
            state = "playing" if room.video_state.is_playing else "paused"
            cells = [room.host_name, len(room.users), room.video_url or "", state]
        add_row(room_table, [room_id, *cells, format_ttl(ttl)])
    out.print(room_table)


@app.command()
@async_command
async def show(room_id: RoomId, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show the users, the video and the TTL of a room."""
    async with open_cli_store(url) as store:
        room = await store.rooms.get_room(room_id)
        ttl = await store.rooms.room_ttl(room_id)
    if room is None:
        raise RoomNotFoundError(room_id)
    if as_json:
        print_json({"id": room_id, "ttlSeconds": _seconds(ttl), "room": room.to_public_json()})
        return
    fields = {
        "host": f"{room.host_name} ({room.host_id})",
        "host token": "set (not shown)" if room.host_token else "none",
        "video": f"{room.video_url} ({room.video_type})" if room.video_url else "none",
        "state": format_state(room.video_state),
        "created": iso(room.created_at),
        "revision": room.rev,
        "TTL": format_ttl(ttl),
    }
    field_table = table(f"room {room_id}", "field", "value")
    for name, value in fields.items():
        add_row(field_table, [name, value])
    out.print(field_table)
    user_table = table(pluralize(len(room.users), "user"), "user", "name", "host", "joined")
    for user in room.users:
        add_row(user_table, [user.id, user.name, "yes" if user.is_host else "", iso(user.joined_at)])
    out.print(user_table)


@app.command()
@async_command
async def chat(
    room_id: RoomId,
    *,
    url: Url = None,
    as_json: AsJson = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Show only this many of the newest messages.")] = None,
) -> None:
    """Show the stored chat messages of a room, oldest first. Texts are cropped to 1,000 characters, except in JSON."""
    async with open_cli_store(url) as store:
        messages = await store.chat.get_messages(room_id, limit)
        ttl = await store.chat.chat_ttl(room_id)
        exists = bool(ttl) or await store.rooms.room_exists(room_id)  # a chat may outlive its room
    if as_json:
        print_json([message.to_json() for message in messages])
    if not exists:
        raise RoomNotFoundError(room_id)
    if as_json:
        return
    title = f"{pluralize(len(messages), 'message')} in {room_id}, TTL: {format_ttl(ttl)}"
    chat_table = table(title, "sent", "user", "message")
    for message in messages:
        add_row(chat_table, [format_timestamp(message.timestamp), message.user_name, message.message])
    out.print(chat_table)


@app.command()
def watch(
    room_id: RoomId,
    *,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Exit after this many events; 0 means no limit.")] = 0,
) -> None:
    """Print the events of a room as they arrive: changes by stores with publish_changes on, and events of the app."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            await watch_room(store, room_id, limit, as_json=as_json)

    with suppress(KeyboardInterrupt):
        run(work())


@app.command()
@async_command
async def sweep(*, url: Url = None, as_json: AsJson = False) -> None:
    """Remove entries of expired rooms from the index of active rooms."""
    async with open_cli_store(url) as store:
        removed = await store.rooms.sweep_active_rooms()
    if as_json:
        print_json({"removed": removed})
    else:
        out.print(f"removed {pluralize(removed, 'expired room')} from the index")


@app.command()
@async_command
async def limits(
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="Client key, for example an IP address, or 2001:db8:: for an IPv6 network.",
            callback=refuse_url,
        ),
    ],
    *,
    url: Url = None,
    as_json: AsJson = False,
    reset: Annotated[bool, typer.Option("--reset", help="Reset the hits first.")] = False,
) -> None:
    """Show the connections and the rate limit of a client."""
    async with open_cli_store(url) as store:
        if reset:
            await store.rate_limits.reset(key)
        connections = await store.connections.count(key)
        hits = await store.rate_limits.peek(key)
    if as_json:
        seconds = hits.reset_after.total_seconds()
        rate_limit = {"allowed": hits.allowed, "remaining": hits.remaining, "limit": hits.limit}
        print_json({"key": key, "connections": connections, **rate_limit, "resetAfterSeconds": seconds})
        return
    out.print(sanitize(f"{key}: {pluralize(connections, 'connection')}"))
    status = "next hit allowed" if hits.allowed else f"blocked for {format_ttl(hits.retry_after)}"
    out.print(f"{hits.remaining} of {hits.limit} hits remaining in this window, {status}")


@app.command()
@async_command
async def ping(*, url: Url = None, as_json: AsJson = False) -> None:
    """Check that the store can serve requests. Exit 3 if it cannot."""
    async with open_cli_store(url) as store:
        await store.ping()  # opens the connection
        start = time.perf_counter()
        await store.ping()
        milliseconds = round((time.perf_counter() - start) * 1000, 3)
    if as_json:
        print_json({"ok": True, "milliseconds": milliseconds})
    else:
        out.print(f"the store replied in {milliseconds} ms")


@app.command()
@async_command
async def doctor(url: UrlArgument = None, *, as_json: AsJson = False) -> None:
    """Check a server and its configuration, and suggest fixes. Exit 1 if a check fails, 3 without a reply."""
    async with open_cli_store(url) as store:
        health = await store.health()
    if as_json:
        print_json(health.to_json())
    else:
        version = f", server {health.version}" if health.version else ""
        check_table = table(f"{health.backend}{version}", "check", "status", "detail", "hint")
        for check in health.checks:
            status = Text(check.status, style=_STATUS_STYLES[check.status])
            add_row(check_table, [check.name, status, check.detail, check.hint])
        out.print(check_table)
    if health.round_trip_ms is None:
        raise typer.Exit(Exit.UNAVAILABLE)
    if not health.ok:
        raise typer.Exit(Exit.FAILED)


app.command()(top)
app.command("export")(export_rooms)
app.command("import")(import_rooms)

_STATUS_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "unknown": "yellow"}


def _room_json(room_id: str, room: Room | None, ttl: timedelta | None) -> dict[str, Any]:
    if room is None:
        return {"id": room_id, "readable": False, "ttlSeconds": _seconds(ttl)}
    return {
        "id": room_id,
        "readable": True,
        "hostId": room.host_id,
        "hostName": room.host_name,
        "users": len(room.users),
        "rev": room.rev,
        "videoUrl": room.video_url,
        "isPlaying": room.video_state.is_playing,
        "ttlSeconds": _seconds(ttl),
    }


def _seconds(ttl: timedelta | None) -> float | None:
    return None if ttl is None or ttl == timedelta.max else ttl.total_seconds()


async def _list_rooms(store: Store, limit: int) -> tuple[list[tuple[str, Room | None, timedelta | None]], bool]:
    """Return up to `limit` rooms (None if unreadable) with their ids and TTLs, and whether the store has more."""
    listed: list[tuple[str, Room | None, timedelta | None]] = []
    with err.status("listing the active rooms"):
        async for room_id in store.rooms.active_room_ids():
            if limit and len(listed) == limit:
                return listed, True
            ttl = await store.rooms.room_ttl(room_id)
            try:
                room = await store.rooms.get_room(room_id)
                if room is None:
                    continue
            except CorruptRecordError:
                room = None
            listed.append((room_id, room, ttl))
    return listed, False
