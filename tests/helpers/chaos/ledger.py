"""A ledger of the applied commands, read from the append-only file, which Redis writes before it replies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

Command = tuple[bytes, ...]

_EMPTY_BASE = 200
"""Bytes. Only the snapshot of an empty database is smaller."""


class TornLogError(Exception):
    """Raised when the file ends within a command, which happens while the server writes."""


def commands(data: bytes) -> Iterator[Command]:
    """Yield the commands of an append-only file. A torn command at the end is ignored, as Redis does."""
    position = 0
    try:
        while position < len(data):
            count, position = _number(data, position, b"*")
            words: list[bytes] = []
            for _ in range(count):
                size, position = _number(data, position, b"$")
                if position + size + 2 > len(data):
                    raise TornLogError  # noqa: TRY301 - all cases of a torn command end here
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
        message = f"expected {kind!r} in the append-only file, found {data[position : position + 20]!r}"
        raise ValueError(message)
    return int(data[position + 1 : end]), end + 2


def transactions(data: bytes) -> Iterator[tuple[Command, ...]]:
    """Yield the atomic steps that were applied: single commands, or the commands between MULTI and EXEC."""
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
    """Return the commands in a data folder, from all incremental files in the order of the manifest."""
    parts: list[bytes] = []
    appended = folder / "appendonlydir"
    for line in (appended / "appendonly.aof.manifest").read_text().splitlines():
        words = line.split()
        entry = dict(zip(words[::2], words[1::2], strict=True))
        path = appended / entry["file"]
        if entry["type"] == "i":
            parts.append(path.read_bytes())
        elif entry["type"] == "b" and path.stat().st_size > _EMPTY_BASE:
            message = f"{path} contains data, but the server must start empty and never rewrite its file"
            raise ValueError(message)
    return b"".join(parts)


@dataclass
class Ledger:
    """The applied writes, in order.

    Attributes:
        rooms: the states of each room as JSON values, None for a deletion.
        chats: the messages added to each chat as JSON values, None for a deletion.
        steps: number of steps that touched each key.
        leases: the states of each connection key, as the ids of its connections.
    """

    rooms: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    chats: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    steps: dict[str, int] = field(default_factory=dict[str, int])
    leases: dict[str, list[frozenset[str]]] = field(default_factory=dict[str, list[frozenset[str]]])

    def changes(self, key: str) -> int:
        """Return how often a key changed. Writing identical bytes to a room does not count."""
        kind, _, name = key.partition(":")
        if kind != "room":
            return self.steps.get(key, 0)
        states = [None, *self.rooms.get(name, [])]
        return sum(before != after for before, after in pairwise(states))

    def add(self, step: Sequence[Command]) -> None:
        """Record an atomic step."""
        touched: set[str] = set()
        for command in step:
            touched.update(self._enter(command))
        for key in touched:
            self.steps[key] = self.steps.get(key, 0) + 1

    def _enter(self, command: Command) -> list[str]:
        name = command[0]
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
        elif name in {b"ZADD", b"ZREM"}:
            states = self.leases.setdefault(name_of, [])
            before = states[-1] if states else frozenset[str]()
            ids = {word.decode() for word in command[3::2] or command[2:]}
            states.append(before | ids if name == b"ZADD" else before - ids)
        elif kind == "chat" and name == b"PEXPIREAT":
            return []  # it follows RPUSH and does not change the messages
        return [key]


def read_ledger(folder: Path) -> Ledger:
    """Return the ledger of the server with a data folder."""
    ledger = Ledger()
    for step in transactions(read_folder(folder)):
        ledger.add(step)
    return ledger
