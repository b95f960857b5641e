"""What a server has really done: read from its append-only file, which is written before a client gets its reply."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

Command = tuple[bytes, ...]

_EMPTY_BASE = 200
"""Bytes; the snapshot of an empty database is smaller, that of any other larger."""


class TornLogError(Exception):
    """Raised when the file ends within a command, as it may while the server writes."""


def commands(data: bytes) -> Iterator[Command]:
    """Yield the commands of an append-only file; one that the end of the file tears is left out, as Redis does."""
    position = 0
    try:
        while position < len(data):
            count, position = _number(data, position, b"*")
            words: list[bytes] = []
            for _ in range(count):
                size, position = _number(data, position, b"$")
                if position + size + 2 > len(data):
                    raise TornLogError  # noqa: TRY301 - one way out for all that is torn
                words.append(data[position : position + size])
                position += size + 2
            yield (words[0].upper(), *words[1:])
    except TornLogError:
        return


def _number(data: bytes, position: int, kind: bytes) -> tuple[int, int]:
    end = data.find(b"\r\n", position)
    if end < 0:
        raise TornLogError
    if data[position : position + 1] != kind:
        message = f"the append-only file holds {data[position : position + 20]!r} where {kind!r} was due"
        raise ValueError(message)
    return int(data[position + 1 : end]), end + 2


def transactions(data: bytes) -> Iterator[tuple[Command, ...]]:
    """Yield what was applied, each in one step: a command, or those between MULTI and EXEC."""
    held: list[Command] | None = None
    for command in commands(data):
        if command[0] == b"SELECT":
            continue
        if command[0] == b"MULTI":
            held = []
        elif command[0] == b"EXEC" and held is not None:
            yield tuple(held)
            held = None
        elif held is not None:
            held.append(command)
        else:
            yield (command,)


def read_folder(folder: Path) -> bytes:
    """Return the commands in a data folder, from all incremental files in the order of their manifest."""
    parts: list[bytes] = []
    appended = folder / "appendonlydir"
    for line in (appended / "appendonly.aof.manifest").read_text().splitlines():
        words = line.split()
        entry = dict(zip(words[::2], words[1::2], strict=True))
        path = appended / entry["file"]
        if entry["type"] == "i":
            parts.append(path.read_bytes())
        elif entry["type"] == "b" and path.stat().st_size > _EMPTY_BASE:
            message = f"{path} holds data: the server must begin empty and never rewrite its file"
            raise ValueError(message)
    return b"".join(parts)


@dataclass
class Ledger:
    """What was applied, in order.

    Attributes:
        rooms: for each room, the states that it went through: JSON values, None where it was deleted.
        chats: for each chat, what was appended, JSON values, None where all was deleted.
        steps: for each key, how many steps touched it.
    """

    rooms: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    chats: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    steps: dict[str, int] = field(default_factory=dict[str, int])

    def changes(self, key: str) -> int:
        """Return how often a key changed; to write a room's very bytes again is no change."""
        kind, _, name = key.partition(":")
        if kind != "room":
            return self.steps.get(key, 0)
        states = [None, *self.rooms.get(name, [])]
        return sum(before != after for before, after in pairwise(states))

    def add(self, step: Sequence[Command]) -> None:
        """Enter what was applied in one step."""
        touched: set[str] = set()
        for command in step:
            touched.update(self._enter(command))
        for key in touched:
            self.steps[key] = self.steps.get(key, 0) + 1

    def _enter(self, command: Command) -> list[str]:
        name = command[0]
        if name in {b"FLUSHALL", b"FLUSHDB"}:
            for history in (*self.rooms.values(), *self.chats.values()):
                history.append(None)
            return []
        if name in {b"DEL", b"UNLINK"}:
            keys = [key.decode("utf-8", "replace") for key in command[1:]]
            for key in keys:
                kind, _, name_of = key.partition(":")
                if kind in {"room", "chat"}:
                    (self.rooms if kind == "room" else self.chats).setdefault(name_of, []).append(None)
            return keys
        if len(command) < 2:
            return []
        key = command[1].decode("utf-8", "replace")
        kind, _, name_of = key.partition(":")
        if kind == "room" and name == b"SET":
            self.rooms.setdefault(name_of, []).append(json.loads(command[2]))
        elif kind == "chat" and name == b"RPUSH":
            self.chats.setdefault(name_of, []).extend(json.loads(entry) for entry in command[2:])
        elif kind == "chat" and name == b"PEXPIREAT":
            return []  # beside RPUSH; by itself it leaves the chat as it was
        return [key]


def read_ledger(folder: Path) -> Ledger:
    """Return what the server of a data folder has applied so far."""
    ledger = Ledger()
    for step in transactions(read_folder(folder)):
        ledger.add(step)
    return ledger
