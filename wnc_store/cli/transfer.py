"""The commands `wnc-store export` and `wnc-store import` for rooms with their chats, as JSON lines."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from wnc_store.base.pages import pages
from wnc_store.cli.files import STANDARD, open_input, open_output
from wnc_store.cli.output import Exit, ascii_json, err, pluralize, print_json, print_notice
from wnc_store.cli.reading import read_rooms
from wnc_store.cli.runtime import AsJson, async_command, fail, refuse_url, run
from wnc_store.cli.store import StoreOptions, explicit_store_command, open_cli_store, store_command
from wnc_store.errors import CorruptRecordError, RoomExistsError, RoomNotFoundError, StoreError
from wnc_store.protocols import Store
from wnc_store.records.codec import parse_json
from wnc_store.records.js_types import iso
from wnc_store.records.models import Room
from wnc_store.snapshots import Snapshot, SupportsRestore

_FORMAT = 1
_CONCURRENCY = 32
"""Maximum number of rooms that are read or written at the same time."""


@store_command
@async_command
async def export_rooms(
    store_options: StoreOptions,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Output file, with permissions 0600. Default, and for -: standard output.", callback=refuse_url
        ),
    ] = None,
) -> None:
    """Export all active rooms with their chats, as JSON lines.

    The export contains host tokens: protect it like a password. Chats without a room are not exported. The rooms are
    read at different moments while the export runs. Unreadable rooms are skipped, with exit code 1.
    """
    with open_output(output) as file, _progress("exporting") as progress:
        async with open_cli_store(store_options) as store:
            unreadable = await _export(store, file, progress)
    if unreadable:
        raise typer.Exit(Exit.FAILED)


@explicit_store_command(
    "URL of the target store; required.", "Prefix of every key in the target store. Default: WNC_STORE_KEY_PREFIX."
)
def import_rooms(
    store_options: StoreOptions,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="File written by `wnc-store export`; - is standard input.")
    ],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing rooms and their chats.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip existing rooms without an error.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import exported rooms with their chats into a store.

    Each room gets the TTL that it had when it was exported. The whole file is validated before the first room is
    written; standard input is copied to an unnamed temporary file for this. Existing rooms are not changed, and the
    exit code is 1, unless --overwrite or --skip-existing is given.
    """
    if overwrite and skip_existing:
        fail("--overwrite and --skip-existing exclude each other: pass at most one", Exit.USAGE)
    if store_options.url is None:
        fail("expected the URL of the target store: wnc-store import FILE URL", Exit.USAGE)
    if store_options.scheme == "memory":
        fail("cannot import into memory://, because the data would be lost when this command exits", Exit.USAGE)
    path = Path(file)

    async def work(lines: IO[bytes]) -> None:
        name = "standard input" if path == STANDARD else file
        total = sum(1 for _ in _read(lines, name))
        async with open_cli_store(store_options) as store:
            with _progress("importing", total) as progress:
                existing = await _import(store, _read(lines, name), progress, replace=overwrite)
        print_notice(f"Imported {pluralize(total - existing, 'room')}.")
        if existing < total and not isinstance(store, SupportsRestore):
            print_notice("This backend does not support restore: imported rooms have a full TTL and a new rev.")
        if existing:
            print_notice(f"Skipped {pluralize(existing, 'existing room')}. Use --overwrite to replace existing rooms.")
        if as_json:
            print_json({"imported": total - existing, "skipped": existing})
        if existing and not skip_existing:
            raise typer.Exit(Exit.FAILED)

    with open_input(path) as lines:  # outside the event loop, so that Ctrl-C interrupts a read
        run(work(lines))


async def _export(store: Store, file: IO[str], progress: Progress) -> int:
    """Write all rooms, and return the number of unreadable rooms."""
    rooms = messages = unreadable = 0
    _write_line(file, {"wncStoreExport": _FORMAT, "exportedAt": iso(datetime.now(UTC))})
    async for page in pages(store.rooms.active_room_ids(), _CONCURRENCY):
        found = await read_rooms(store, page)
        for result in await asyncio.gather(*(_snapshot(store, room) for room in found)):
            if isinstance(result, Snapshot):
                _write_line(file, result.to_json())
                rooms, messages = rooms + 1, messages + len(result.messages)
                progress.advance(progress.task_ids[0])
            elif result is not None:
                unreadable += 1
                print_notice(f"Skipped: {result}")
    _write_line(file, {"rooms": rooms, "messages": messages})
    file.flush()  # so that a write error is raised before success is reported
    skipped = f" Skipped {pluralize(unreadable, 'unreadable room')}." if unreadable else ""
    exported = f"{pluralize(rooms, 'room')} with {pluralize(messages, 'message')}, including host tokens"
    print_notice(f"Exported {exported}.{skipped}")
    return unreadable


async def _snapshot(store: Store, room: Room | CorruptRecordError | None) -> Snapshot | CorruptRecordError | None:
    """Return a room with its chat, the error if one of them is unreadable, or None if the room has expired."""
    if not isinstance(room, Room):
        return room
    try:
        room_ttl, messages, chat_ttl = await asyncio.gather(
            store.rooms.room_ttl(room.id), store.chat.get_messages(room.id), store.chat.chat_ttl(room.id)
        )
    except CorruptRecordError as error:
        return error
    if not room_ttl:
        return None
    return Snapshot(room, room_ttl, tuple(messages), chat_ttl) if chat_ttl else Snapshot(room, room_ttl)


async def _import(store: Store, snapshots: Iterable[Snapshot], progress: Progress, *, replace: bool) -> int:
    """Write all rooms. Return the number of existing rooms that were not changed, because `replace` is false."""
    imported = existing = 0
    remaining = iter(snapshots)
    while chunk := tuple(islice(remaining, _CONCURRENCY)):
        restores = [_restore(store, snapshot, replace=replace) for snapshot in chunk]
        outcomes = await asyncio.gather(*restores, return_exceptions=True)
        imported += outcomes.count(None)
        existing += sum(isinstance(outcome, RoomExistsError) for outcome in outcomes)
        progress.advance(progress.task_ids[0], len(chunk))
        for snapshot, outcome in zip(chunk, outcomes, strict=True):
            if outcome is not None and not isinstance(outcome, RoomExistsError):
                failed = f"Imported {pluralize(imported, 'room')}, then room {snapshot.room.id!r} failed."
                hint = "Run the same command again" if replace else "Run it again with --skip-existing"
                print_notice(f"{failed} {hint} to continue.")
                raise outcome
    return existing


async def _restore(store: Store, snapshot: Snapshot, *, replace: bool) -> None:
    """Restore a room with its chat. If the backend does not support restore, recreate them instead."""
    if isinstance(store, SupportsRestore):
        await store.restore(snapshot, replace=replace)
        return
    room, replaced = snapshot.room, False
    if replace:
        with suppress(RoomNotFoundError):
            await store.rooms.update_room(room.id, room)  # a failed update changes nothing
            await store.chat.clear_messages(room.id)
            replaced = True
    if not replaced:
        await store.rooms.create_room(room)
    try:
        for message in snapshot.messages:
            await store.chat.add_message(message.model_copy(update={"room_id": room.id}))
    except StoreError:
        if not replace:  # otherwise --skip-existing would keep an incomplete chat
            await _remove_incomplete(store, room.id)
        raise


async def _remove_incomplete(store: Store, room_id: str) -> None:
    try:
        await store.rooms.delete_room(room_id)
    except StoreError:
        print_notice(f"Room {room_id!r} has an incomplete chat and cannot be removed. Import it with --overwrite.")


def _read(lines: IO[bytes], name: str) -> Generator[Snapshot]:
    """Yield the rooms of an export, from the beginning of the file.

    Raises:
        CorruptRecordError: The file is not a complete export. The error has the line number but not the line, which may
            contain secrets.
    """
    rooms = messages = 0
    footer: Mapping[str, Any] | None = None
    lines.seek(0)
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        value = _parse(line, where)
        if number == 1:
            if value.get("wncStoreExport") != _FORMAT:
                raise CorruptRecordError(where, f"expected the header of an export of format {_FORMAT}")
        elif footer is not None:
            raise CorruptRecordError(where, "expected no line after the footer")
        elif "room" in value:
            snapshot = Snapshot.from_json(value, where=where)
            rooms, messages = rooms + 1, messages + len(snapshot.messages)
            yield snapshot
        else:
            footer = value
    if footer != {"rooms": rooms, "messages": messages}:
        counts = f"{pluralize(rooms, 'room')} and {pluralize(messages, 'message')}"
        raise CorruptRecordError(name, f"the export is incomplete: expected a footer with {counts}")


def _parse(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = parse_json(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CorruptRecordError(where, "expected a JSON object")
    return cast("dict[str, Any]", value)


def _write_line(file: IO[str], value: object) -> None:
    file.write(f"{ascii_json(value)}\n")


@contextmanager
def _progress(action: str, total: int | None = None) -> Generator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(f"{action} rooms", total=total)
        yield progress
