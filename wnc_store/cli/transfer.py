"""`wnc-store export` and `wnc-store import`: rooms with their chats, as JSON lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Annotated, Any, cast

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from wnc_store import (
    CorruptRecordError,
    NotSupportedError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    Snapshot,
    Store,
    StoreError,
    SupportsRestore,
)
from wnc_store.cli.files import STANDARD, open_input, open_output
from wnc_store.cli.output import Exit, err, pluralize, sanitize
from wnc_store.cli.runtime import UrlArgument, fail, open_cli_store, run
from wnc_store.records.js_types import iso

_FORMAT = 1
_AT_ONCE = 32
"""So many rooms are read or written at the same time."""


def export_rooms(
    url: UrlArgument = None,
    *,
    output: Annotated[
        Path | None, typer.Option(help="A file to write, readable by its owner alone; else, or for -, standard output.")
    ] = None,
) -> None:
    """Write all active rooms, with their chats, as JSON lines.

    Host tokens are among them: keep the file as safe as a password. Chats without a room are left out. Each room is as
    it was when it was read. Exit 1 if one can't be read; the others are written.
    """

    async def work() -> None:
        with open_output(output) as file, _progress("exporting") as progress:
            async with open_cli_store(url) as store:
                unreadable = await _export(store, file, progress)
        if unreadable:
            raise typer.Exit(Exit.FAILED)

    run(work())


def import_rooms(
    url: Annotated[str, typer.Argument(metavar="URL", help="The store to write to.")],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `wnc-store export` has written; - for standard input.", dir_okay=False
        ),
    ],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace rooms that exist, and their chats.")] = False,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave rooms that exist as they are.")] = False,
) -> None:
    """Write exported rooms, with their chats, into a store.

    Each room lives on for as long as it would have when it was exported. The whole file is read and checked before the
    first room is written: what comes through a pipe is kept meanwhile, in a temporary file without a name. A room that
    exists is left as it is and makes the exit code 1, unless an option says what to do.
    """
    if overwrite and skip_existing:
        fail("choose one of --overwrite and --skip-existing", Exit.USAGE)
    _ensure_lasting(url, file)

    async def work(lines: IO[bytes]) -> None:
        name = "standard input" if file == STANDARD else str(file)
        total = sum(1 for _ in _read(lines, name))
        async with open_cli_store(url) as store:
            with _progress("importing", total) as progress:
                done = await _import(store, _read(lines, name), progress, replace=overwrite)
        err.print(f"imported {pluralize(total - done.existing, 'room')}")
        if done.begun_anew:
            err.print("this backend can't restore: each has a full TTL again, and its rev is raised by one")
        if done.existing:
            left = f"left as it was: {pluralize(done.existing, 'room')} of an id that exists"
            err.print(f"{left} (--overwrite replaces it)")
            if not skip_existing:
                raise typer.Exit(Exit.FAILED)

    with open_input(file) as lines:
        run(work(lines))


def _ensure_lasting(url: str, file: Path) -> None:
    """Refuse an import into a file, or into a memory that ends with the command."""
    if (
        "://" not in url and file.parts and file.parts[0].endswith(":")
    ):  # neither is repeated: a URL may hold a password
        fail("the store comes first: wnc-store import URL FILE", Exit.USAGE)
    if url.partition("://")[0].lower() == "memory":
        fail("memory:// is this command's own memory: what it imports would be gone when it ends", Exit.USAGE)


async def _export(store: Store, file: IO[str], progress: Progress) -> int:
    """Write all rooms; return how many can't be read."""
    rooms = messages = unreadable = 0

    async def read(room_id: str) -> Snapshot | CorruptRecordError | None:
        try:
            return await _snapshot(store, room_id)
        except CorruptRecordError as error:
            return error

    _write_line(file, {"wncStoreExport": _FORMAT, "exportedAt": iso(datetime.now(UTC))})
    async for room_ids in _chunks(store.rooms.active_room_ids()):
        for found in await asyncio.gather(*map(read, room_ids)):
            if isinstance(found, Snapshot):
                _write_line(file, found.to_json())
                rooms, messages = rooms + 1, messages + len(found.messages)
                progress.advance(progress.task_ids[0])
            elif found is not None:
                unreadable += 1
                err.print(sanitize(f"left out: {found}"), soft_wrap=True)
    _write_line(file, {"rooms": rooms, "messages": messages})
    file.flush()  # before it is told as done
    told = f"exported {pluralize(rooms, 'room')} with {pluralize(messages, 'message')}, host tokens included"
    err.print(f"{told}; {pluralize(unreadable, 'room')} can't be read" if unreadable else told)
    return unreadable


@dataclass
class _Imported:
    """How many rooms were put back as they were, were begun anew, and exist already."""

    restored: int = 0
    begun_anew: int = 0
    existing: int = 0


async def _import(store: Store, snapshots: Iterable[Snapshot], progress: Progress, *, replace: bool) -> _Imported:
    """Write all rooms, as far as they do not exist."""
    done = _Imported()
    left = iter(snapshots)
    while chunk := tuple(islice(left, _AT_ONCE)):
        writing = [_restore(store, snapshot, replace=replace) for snapshot in chunk]
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        done.restored += outcomes.count(True)
        done.begun_anew += outcomes.count(False)
        done.existing += sum(isinstance(one, RoomExistsError) for one in outcomes)
        progress.advance(progress.task_ids[0], len(chunk))
        for snapshot, error in zip(chunk, outcomes, strict=True):
            if isinstance(error, BaseException) and not isinstance(error, RoomExistsError):
                written = pluralize(done.restored + done.begun_anew, "room")
                goes_on = "the same command goes on" if replace else "--skip-existing goes on from there"
                told = f"{written} had been imported when {snapshot.room.id!r} failed: {goes_on}"
                err.print(sanitize(told), soft_wrap=True)
                raise error
    return done


async def _snapshot(store: Store, room_id: str) -> Snapshot | None:
    """Return a room and its chat; None if it is gone by now."""
    room, room_ttl = await store.rooms.get_room(room_id), await store.rooms.room_ttl(room_id)
    messages, chat_ttl = await store.chat.get_messages(room_id), await store.chat.chat_ttl(room_id)
    if room is None or not room_ttl:
        return None
    return Snapshot(room, room_ttl, tuple(messages), chat_ttl) if chat_ttl else Snapshot(room, room_ttl)


async def _restore(store: Store, snapshot: Snapshot, *, replace: bool) -> bool:
    """Put a room back as it was; or begin it anew where the backend can't do that, and return false."""
    if isinstance(store, SupportsRestore):
        with suppress(NotSupportedError):  # on a cluster
            await store.restore(snapshot, replace=replace)
            return True
    await _recreate_room(store, snapshot, replace=replace)
    return False


async def _recreate_room(store: Store, snapshot: Snapshot, *, replace: bool) -> None:
    """Make a room and its chat by what every store offers."""
    room = snapshot.room
    if not (replace and await _replace(store, room)):
        await store.rooms.create_room(room)
    try:
        for message in snapshot.messages:
            await store.chat.add_message(message.model_copy(update={"room_id": room.id}))
    except StoreError:
        if not replace:  # --skip-existing would take half a chat for the whole
            await _undo(store, room.id)
        raise


async def _replace(store: Store, room: Room) -> bool:
    """Replace a room, if there is one, and empty its chat; if that is refused, all is as it was."""
    try:
        await store.rooms.update_room(room.id, room)
    except RoomNotFoundError:
        return False
    await store.chat.clear_messages(room.id)
    return True


async def _undo(store: Store, room_id: str) -> None:
    try:
        await store.rooms.delete_room(room_id)
    except StoreError:
        err.print(sanitize(f"room {room_id!r} lacks messages, and can't be removed now: import it with --overwrite"))


def _read(lines: IO[bytes], name: str) -> Generator[Snapshot]:
    """Yield what an exported file holds, from its beginning.

    Raises:
        CorruptRecordError: it is no such file, or not all of it. The error holds the line's number, and nothing of it.
    """
    rooms = messages = 0
    end: Mapping[str, Any] | None = None
    lines.seek(0)
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        value = _parse(line, where)
        if number == 1:
            if value.get("wncStoreExport") != _FORMAT:
                raise CorruptRecordError(where, "it does not begin as `wnc-store export` writes it")
        elif end is not None:
            raise CorruptRecordError(where, "something follows its end")
        elif "room" in value:
            snapshot = Snapshot.from_json(value, where=where)
            rooms, messages = rooms + 1, messages + len(snapshot.messages)
            yield snapshot
        else:
            end = value
    if end != {"rooms": rooms, "messages": messages}:
        raise CorruptRecordError(name, "it is not whole: its last line does not tell what it holds")


def _parse(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CorruptRecordError(where, "it is no JSON object")
    return cast("dict[str, Any]", value)


async def _chunks(items: AsyncIterator[str]) -> AsyncIterator[list[str]]:
    chunk: list[str] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    yield chunk


def _write_line(file: IO[str], value: object) -> None:
    file.write(f"{json.dumps(value, separators=(',', ':'))}\n")


@contextmanager
def _progress(what: str, total: int | None = None) -> Generator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        progress.add_task(f"{what} rooms", total=total)
        yield progress
