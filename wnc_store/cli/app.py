"""The commands."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from wnc_store import CorruptRecordError, Room, RoomNotFoundError, Store, __version__
from wnc_store.cli.commands import CommandGroup
from wnc_store.cli.demo import run_demo
from wnc_store.cli.output import (
    Exit,
    add_row,
    err,
    format_timestamp,
    format_ttl,
    out,
    pluralize,
    print_json,
    sanitize,
    table,
)
from wnc_store.cli.runtime import AsJson, Url, UrlArgument, open_cli_store, run
from wnc_store.cli.top import top
from wnc_store.cli.transfer import export_rooms, import_rooms
from wnc_store.cli.watch import watch_room
from wnc_store.records.js_types import iso

app = typer.Typer(
    name="wnc-store",
    cls=CommandGroup,
    help="Look into a store of watch-party rooms, clean it up, and verify a backend against the contract. Exit codes: "
    "0 success, 1 failed or not found, 2 wrong usage, 3 no answer from the server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RoomId = Annotated[str, typer.Argument(metavar="ROOM", help="The id of a room.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"wnc-store {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Tell the version, and end.")
    ] = False,
) -> None:
    """Take the options that belong to no command."""


@app.command()
def demo(
    url: Annotated[str | None, typer.Option("--url", help="A store to run it on, instead of memory.")] = None,
) -> None:
    """Run a room's whole life in memory, or on the store of --url, under a key prefix of its own."""
    run(run_demo("memory://" if url is None else url))


@app.command()
def rooms(
    *,
    url: Url = None,
    as_json: AsJson = False,
    limit: Annotated[int, typer.Option(min=0, help="How many rooms at most; 0 is all.")] = 100,
) -> None:
    """List the active rooms."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            listed, more = await _list_rooms(store, limit)
        if more:
            err.print(f"there are more than {limit} rooms: --limit 0 lists all of them")
        if as_json:
            print_json([_room_json(room_id, found, ttl) for room_id, found, ttl in listed])
            return
        shown = table(pluralize(len(listed), "active room"), *_ROOM_COLUMNS)
        for room_id, found, ttl in listed:
            add_row(shown, _room_cells(room_id, found, ttl))
        out.print(shown)

    run(work())


@app.command()
def show(room: RoomId, *, url: Url = None, as_json: AsJson = False) -> None:
    """Show one room: its users, its video and how long it still lives."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            found = await store.rooms.get_room(room)
            ttl = await store.rooms.room_ttl(room)
        if found is None:
            raise RoomNotFoundError(room)
        if as_json:
            print_json({"id": room, "ttlSeconds": _seconds(ttl), "room": found.to_public_json()})
            return
        state = found.video_state
        facts = {
            "host": f"{found.host_name} ({found.host_id})",
            "host token": "set (not shown)" if found.host_token else "none",
            "video": f"{found.video_url} ({found.video_type})" if found.video_url else "none",
            "state": f"{'playing' if state.is_playing else 'paused'} at {state.current_time} of {state.duration} s",
            "created": iso(found.created_at),
            "revision": found.rev,
            "lives for": format_ttl(ttl),
        }
        about = table(f"room {room}", "what", "value")
        for name, fact in facts.items():
            add_row(about, [Text(name), fact])
        out.print(about)
        users = table(pluralize(len(found.users), "user"), "user", "name", "host", "joined")
        for user in found.users:
            add_row(users, [user.id, user.name, "yes" if user.is_host else "", iso(user.joined_at)])
        out.print(users)

    run(work())


@app.command()
def chat(
    room: RoomId,
    *,
    url: Url = None,
    as_json: AsJson = False,
    limit: Annotated[int | None, typer.Option(min=0, help="How many messages at most, the newest.")] = None,
) -> None:
    """Show the kept messages of a room, oldest first."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            messages = await store.chat.get_messages(room, limit)
            ttl = await store.chat.chat_ttl(room)
            there = bool(ttl) or await store.rooms.room_exists(room)  # a chat may outlive its room
        if as_json:
            print_json([message.to_json() for message in messages])
        if not there:
            raise RoomNotFoundError(room)
        if as_json:
            return
        shown = table(f"{pluralize(len(messages), 'message')} in {room}, living for: {format_ttl(ttl)}", *_CHAT_COLUMNS)
        for message in messages:
            add_row(shown, [format_timestamp(message.timestamp), message.user_name, message.message])
        out.print(shown)

    run(work())


@app.command()
def watch(
    room: RoomId,
    *,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each event.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="End after so many events; 0 never ends.")] = 0,
) -> None:
    """Print the events of a room as they happen: what apps publish, and stores whose publish_changes is on."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            await watch_room(store, room, limit, as_json=as_json)

    with suppress(KeyboardInterrupt):
        run(work())


@app.command()
def sweep(*, url: Url = None, as_json: AsJson = False) -> None:
    """Remove dead rooms from the index of active rooms."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            removed = await store.rooms.sweep_active_rooms()
        if as_json:
            print_json({"removed": removed})
        else:
            out.print(f"removed {pluralize(removed, 'dead room')} from the index")

    run(work())


@app.command()
def limits(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Whose connections and hits, say an IP address.")],
    *,
    url: Url = None,
    as_json: AsJson = False,
    reset: Annotated[bool, typer.Option("--reset", help="Forget the hits first.")] = False,
) -> None:
    """Show how many connections and hits of a client are counted."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            if reset:
                await store.rate_limits.reset(key)
            connections = await store.connections.count(key)
            hits = await store.rate_limits.peek(key)
        if as_json:
            seconds = hits.reset_after.total_seconds()
            counted_hits = {"allowed": hits.allowed, "remaining": hits.remaining, "limit": hits.limit}
            print_json({"key": key, "connections": connections, **counted_hits, "resetAfterSeconds": seconds})
            return
        out.print(sanitize(f"{key}: {pluralize(connections, 'connection')}"))
        verdict = "the next hit is allowed" if hits.allowed else f"no hit is allowed for {format_ttl(hits.retry_after)}"
        out.print(f"{hits.remaining} of {hits.limit} hits remain in this window; {verdict}")

    run(work())


@app.command()
def ping(*, url: Url = None, as_json: AsJson = False) -> None:
    """Ask the store whether it can serve; exit 3 if not."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            await store.ping()  # the first one connects
            start = time.perf_counter()
            await store.ping()
            milliseconds = round((time.perf_counter() - start) * 1000, 3)
        if as_json:
            print_json({"ok": True, "milliseconds": milliseconds})
        else:
            out.print(f"the store answers, in {milliseconds} ms")

    run(work())


@app.command()
def doctor(
    url: UrlArgument = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Look at a server and its set-up, and say what to do; exit 1 if something is wrong, 3 if it does not answer."""

    async def work() -> None:
        async with open_cli_store(url) as store:
            health = await store.health()
        if as_json:
            print_json(health.to_json())
        else:
            shown = table(f"{health.backend}{f', server {health.version}' if health.version else ''}", *_CHECK_COLUMNS)
            for check in health.checks:
                add_row(
                    shown,
                    [check.name, Text(check.status, style=_STATUS_STYLES[check.status]), check.detail, check.hint],
                )
            out.print(shown)
        if health.round_trip_ms is None:
            raise typer.Exit(Exit.UNAVAILABLE)
        if not health.ok:
            raise typer.Exit(Exit.FAILED)

    run(work())


app.command()(top)
app.command("export")(export_rooms)
app.command("import")(import_rooms)

_CHECK_COLUMNS = ("check", "status", "detail", "hint")
_STATUS_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "unknown": "yellow"}
_CHAT_COLUMNS = ("sent", "user", "message")
_ROOM_COLUMNS = ("room", "host", "users", "video", "state", "lives for")


def _room_cells(room_id: str, found: Room | None, ttl: timedelta | None) -> list[object]:
    if found is None:
        return [room_id, Text("can't be read", style="red"), "", "", "", format_ttl(ttl)]
    state = "playing" if found.video_state.is_playing else "paused"
    return [room_id, found.host_name, len(found.users), found.video_url or "", state, format_ttl(ttl)]


def _room_json(room_id: str, found: Room | None, ttl: timedelta | None) -> dict[str, Any]:
    if found is None:
        return {"id": room_id, "readable": False, "ttlSeconds": _seconds(ttl)}
    facts = {"hostId": found.host_id, "hostName": found.host_name, "users": len(found.users), "rev": found.rev}
    video = {"videoUrl": found.video_url, "isPlaying": found.video_state.is_playing}
    return {"id": room_id, "readable": True, **facts, **video, "ttlSeconds": _seconds(ttl)}


def _seconds(ttl: timedelta | None) -> float | None:
    return None if ttl is None or ttl == timedelta.max else ttl.total_seconds()


async def _list_rooms(store: Store, limit: int) -> tuple[list[tuple[str, Room | None, timedelta | None]], bool]:
    """Return up to `limit` rooms with what they hold (None if that can't be read), and whether there are more."""
    listed: list[tuple[str, Room | None, timedelta | None]] = []
    with err.status("listing the active rooms"):
        async for room_id in store.rooms.active_room_ids():
            if limit and len(listed) == limit:
                return listed, True
            ttl = await store.rooms.room_ttl(room_id)
            try:
                found = await store.rooms.get_room(room_id)
            except CorruptRecordError:
                listed.append((room_id, None, ttl))
                continue
            if found is not None:
                listed.append((room_id, found, ttl))
    return listed, False
