"""The built-in commands of the command line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
from rich.text import Text

from wnc_store import HealthCheck, RoomNotFoundError, __version__
from wnc_store.cli.demo import run_demo
from wnc_store.cli.output import (
    Exit,
    add_row,
    format_timestamp,
    format_ttl,
    out,
    pluralize,
    print_json,
    sanitize,
    table,
)
from wnc_store.cli.plugins import Panel, PluginGroup
from wnc_store.cli.rooms import delete, rooms, show
from wnc_store.cli.runtime import AsJson, async_command, run
from wnc_store.cli.store import RoomId, StoreOptions, open_cli_store, store_command
from wnc_store.cli.top import top
from wnc_store.cli.transfer import export_rooms, import_rooms
from wnc_store.cli.watch import watch_room

app = typer.Typer(
    name="wnc-store",
    cls=PluginGroup,
    help="Inspect and clean up a store of watch-party rooms, and verify backends against the contract. Exit codes: "
    "0 success, 1 failure or not found, 2 usage error, 3 server unavailable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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


@store_command
@async_command
async def demo(store_options: StoreOptions) -> None:
    """Demonstrate the life cycle of a room, in memory or, with a URL, on a store under a separate key prefix."""
    await run_demo(store_options)


@store_command
@async_command
async def chat(
    store_options: StoreOptions,
    room_id: RoomId,
    *,
    as_json: AsJson = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Show only this many of the newest messages.")] = None,
) -> None:
    """Show the stored chat messages of a room, oldest first. Texts are cropped to 1,000 characters, except in JSON."""
    async with open_cli_store(store_options) as store:
        messages = await store.chat.get_messages(room_id, limit)
        ttl = await store.chat.chat_ttl(room_id)
        exists = bool(ttl) or await store.rooms.room_exists(room_id)  # a chat may outlive its room
    if as_json:
        print_json([message.to_json() for message in messages])
    if not exists:
        raise RoomNotFoundError(room_id)
    if as_json:
        return
    if not messages:
        out.print(f"No messages in {room_id}.")
        return
    title = f"{pluralize(len(messages), 'message')} in {room_id}, TTL: {format_ttl(ttl)}"
    chat_table = table(title, "sent", "user", "message", keep={"sent"})
    for message in messages:
        add_row(chat_table, [format_timestamp(message.timestamp), message.user_name, message.message])
    out.print(chat_table)


@store_command
def watch(
    store_options: StoreOptions,
    room_id: RoomId,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as a line of JSON.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Exit after this many events; 0 means no limit.")] = 0,
) -> None:
    """Print the events of a room as they arrive: changes by stores with publish_changes on, and events of the app."""

    async def work() -> None:
        async with open_cli_store(store_options) as store:
            await watch_room(store, room_id, limit, as_json=as_json)

    with suppress(KeyboardInterrupt):
        run(work())


@store_command
@async_command
async def sweep(store_options: StoreOptions, *, as_json: AsJson = False) -> None:
    """Remove entries of expired rooms from the index of active rooms."""
    async with open_cli_store(store_options) as store:
        removed = await store.rooms.sweep_active_rooms()
    if as_json:
        print_json({"removed": removed})
    else:
        out.print(f"removed {pluralize(removed, 'expired room')} from the index")


@store_command
@async_command
async def limits(
    store_options: StoreOptions,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="Client key, for example an IP address, or 2001:db8:: for an IPv6 network.",
        ),
    ],
    *,
    as_json: AsJson = False,
    reset: Annotated[bool, typer.Option("--reset", help="Reset the hits first.")] = False,
) -> None:
    """Show the connections and the rate limit of a client."""
    async with open_cli_store(store_options) as store:
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


@store_command
@async_command
async def ping(store_options: StoreOptions, *, as_json: AsJson = False) -> None:
    """Check that the store can serve requests. Exit 3 if it cannot."""
    async with open_cli_store(store_options) as store:
        await store.ping()  # opens the connection
        start = time.perf_counter()
        await store.ping()
        milliseconds = round((time.perf_counter() - start) * 1000, 3)
    if as_json:
        print_json({"ok": True, "milliseconds": milliseconds})
    else:
        out.print(f"the store replied in {milliseconds} ms")


@store_command
@async_command
async def doctor(store_options: StoreOptions, *, as_json: AsJson = False) -> None:
    """Check a server and its configuration, and suggest fixes. Exit 1 if a check fails or is unknown, 3 if no reply."""
    async with open_cli_store(store_options) as store:
        health = await store.health()
    if as_json:
        print_json(health.to_json())
    else:
        title = health.backend if health.server is None else f"{health.backend} on {health.server}"
        _print_checks(title, health.checks)
    if health.round_trip_ms is None:
        raise typer.Exit(Exit.UNAVAILABLE)
    if not health.ok:
        raise typer.Exit(Exit.FAILED)


def _print_checks(title: str, checks: Sequence[HealthCheck]) -> None:
    """Print the checks with their hints, and how many have each status. Details are wrapped, not cropped."""
    check_table = table(title, "status", "check", "detail", keep={"status", "check"})
    for check in checks:
        hint = Text.assemble("\n", ("hint: ", "bold"), sanitize(check.hint)) if check.hint else Text()
        status = Text(check.status, style=_STATUS_STYLES[check.status])
        add_row(check_table, [status, check.name, Text.assemble(sanitize(check.detail), hint)])
    out.print(check_table)
    counts = Counter(check.status for check in checks)
    out.print(", ".join(f"{counts[status]} {status}" for status in _STATUS_STYLES if counts[status]))
    if counts["unknown"]:
        message = "An unknown check is not ok, and the exit code is not 0: the server did not provide the information."
        out.print(message, soft_wrap=True)


_STATUS_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red", "unknown": "magenta"}

for _panel, _commands in {
    Panel.LOOK: {
        "rooms": rooms,
        "show": show,
        "chat": chat,
        "limits": limits,
        "watch": watch,
        "export": export_rooms,
        "demo": demo,
    },
    Panel.CHANGE: {"delete": delete, "sweep": sweep, "import": import_rooms},
    Panel.VERIFY: {"ping": ping, "doctor": doctor},
    Panel.MEASURE: {"top": top},
}.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)
