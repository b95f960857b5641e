"""The commands `wnc-store export` and `wnc-store import` for rooms with their chats, as JSON lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from wnc_store import (
    CorruptRecordError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    Snapshot,
    Store,
    StoreError,
    SupportsRestore,
)
from wnc_store.cli.files import STANDARD, open_input, open_output
from wnc_store.cli.output import Exit, err, pluralize, print_notice
from wnc_store.cli.runtime import UrlArgument, fail, open_cli_store, run
from wnc_store.records.js_types import iso

_FORMAT = 1
_CONCURRENCY = 32
"""Maximum number of rooms that are read or written at the same time."""


def export_rooms(
    url: UrlArgument = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="Output file, with permissions 0600. Default, and for -: standard output.")
    ] = None,
) -> None:
    """Export all active rooms with their chats, as JSON lines.

    The export contains host tokens: protect it like a password. Chats without a room are not exported. The rooms are
    read at different moments while the export runs. Unreadable rooms are skipped, with exit code 1.
    """

    async def work() -> None:
        with open_output(output) as file, _progress("exporting") as progress:
            async with open_cli_store(url) as store:
                unreadable = await _export(store, file, progress)
        if unreadable:
            raise typer.Exit(Exit.FAILED)

    run(work())


def import_rooms(
    url: Annotated[str, typer.Argument(metavar="URL", help="Target store URL.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="File written by `wnc-store export`; - is standard input.", dir_okay=False),
    ],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing rooms and their chats.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip existing rooms without an error.")
    ] = False,
) -> None:
    """Import exported rooms with their chats into a store.

    Each room gets the TTL that it had when it was exported. The whole file is validated before the first room is
    written; standard input is copied to an unnamed temporary file for this. Existing rooms are not changed, and the
    exit code is 1, unless --overwrite or --skip-existing is given.
    """
    if overwrite and skip_existing:
        fail("--overwrite and --skip-existing exclude each other: pass at most one", Exit.USAGE)
    _check_target(url, file)

    async def work(lines: IO[bytes]) -> None:
        name = "standard input" if file == STANDARD else str(file)
        total = sum(1 for _ in _read(lines, name))
        async with open_cli_store(url) as store:
            with _progress("importing", total) as progress:
                counts = await _import(store, _read(lines, name), progress, replace=overwrite)
        print_notice(f"Imported {pluralize(total - counts.existing, 'room')}.")
        if counts.recreated:
            print_notice("This backend does not support restore: imported rooms have a full TTL and a new rev.")
        if counts.existing:
            print_notice(
                f"Skipped {pluralize(counts.existing, 'existing room')}. Use --overwrite to replace existing rooms."
            )
            if not skip_existing:
                raise typer.Exit(Exit.FAILED)

    with open_input(file) as lines:
        run(work(lines))


def _check_target(url: str, file: Path) -> None:
    """Exit with a usage error if the arguments are swapped or the store would end with this process."""
    if "://" not in url and file.parts and file.parts[0].endswith(":"):
        # The message repeats neither argument: a URL may contain a password.
        fail("the arguments are in the wrong order, expected: wnc-store import URL FILE", Exit.USAGE)
    if url.partition("://")[0].lower() == "memory":
        fail("cannot import into memory://, because the data would be lost when this command exits", Exit.USAGE)


async def _export(store: Store, file: IO[str], progress: Progress) -> int:
    """Write all rooms, and return the number of unreadable rooms."""
    rooms = messages = unreadable = 0

    async def read(room_id: str) -> Snapshot | CorruptRecordError | None:
        try:
            return await _snapshot(store, room_id)
        except CorruptRecordError as error:
            return error

    _write_line(file, {"wncStoreExport": _FORMAT, "exportedAt": iso(datetime.now(UTC))})
    async for room_ids in _chunks(store.rooms.active_room_ids()):
        for result in await asyncio.gather(*map(read, room_ids)):
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


@dataclass
class _ImportCounts:
    """Numbers of rooms by outcome of an import."""

    restored: int = 0
    recreated: int = 0
    existing: int = 0


async def _import(store: Store, snapshots: Iterable[Snapshot], progress: Progress, *, replace: bool) -> _ImportCounts:
    """Write all rooms. Existing rooms are counted and, unless `replace` is true, not changed."""
    counts = _ImportCounts()
    remaining = iter(snapshots)
    while chunk := tuple(islice(remaining, _CONCURRENCY)):
        restores = [_restore(store, snapshot, replace=replace) for snapshot in chunk]
        outcomes = await asyncio.gather(*restores, return_exceptions=True)
        counts.restored += outcomes.count(True)
        counts.recreated += outcomes.count(False)
        counts.existing += sum(isinstance(outcome, RoomExistsError) for outcome in outcomes)
        progress.advance(progress.task_ids[0], len(chunk))
        for snapshot, outcome in zip(chunk, outcomes, strict=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, RoomExistsError):
                imported = pluralize(counts.restored + counts.recreated, "room")
                hint = "Run the same command again" if replace else "Run it again with --skip-existing"
                print_notice(f"Imported {imported}, then room {snapshot.room.id!r} failed. {hint} to continue.")
                raise outcome
    return counts


async def _snapshot(store: Store, room_id: str) -> Snapshot | None:
    """Return a room and its chat; None if the room has expired."""
    room, room_ttl = await store.rooms.get_room(room_id), await store.rooms.room_ttl(room_id)
    messages, chat_ttl = await store.chat.get_messages(room_id), await store.chat.chat_ttl(room_id)
    if room is None or not room_ttl:
        return None
    return Snapshot(room, room_ttl, tuple(messages), chat_ttl) if chat_ttl else Snapshot(room, room_ttl)


async def _restore(store: Store, snapshot: Snapshot, *, replace: bool) -> bool:
    """Restore a room; return False if the backend could only recreate it, with a full TTL and a new rev."""
    if isinstance(store, SupportsRestore):
        await store.restore(snapshot, replace=replace)
        return True
    await _recreate_room(store, snapshot, replace=replace)
    return False


async def _recreate_room(store: Store, snapshot: Snapshot, *, replace: bool) -> None:
    """Create a room and its chat by the operations that every store has."""
    room = snapshot.room
    if not (replace and await _replace(store, room)):
        await store.rooms.create_room(room)
    try:
        for message in snapshot.messages:
            await store.chat.add_message(message.model_copy(update={"room_id": room.id}))
    except StoreError:
        if not replace:  # otherwise --skip-existing would keep an incomplete chat
            await _remove_incomplete(store, room.id)
        raise


async def _replace(store: Store, room: Room) -> bool:
    """Replace a room and clear its chat; return False if the room does not exist. A failed update changes nothing."""
    try:
        await store.rooms.update_room(room.id, room)
    except RoomNotFoundError:
        return False
    await store.chat.clear_messages(room.id)
    return True


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
                reason = f"expected the header of an export of format {_FORMAT}"
                raise CorruptRecordError(where, reason)
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
        reason = f"the export is incomplete: expected a footer with {counts}"
        raise CorruptRecordError(name, reason)


def _parse(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CorruptRecordError(where, "expected a JSON object")
    return cast("dict[str, Any]", value)


async def _chunks(items: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    chunk: list[str] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == _CONCURRENCY:
            yield chunk
            chunk = []
    yield chunk


def _write_line(file: IO[str], value: object) -> None:
    file.write(f"{json.dumps(value, separators=(',', ':'))}\n")


@contextmanager
def _progress(action: str, total: int | None = None) -> Generator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(f"{action} rooms", total=total)
        yield progress
