"""A fake Redis server in this process, which runs the backend's Lua scripts one command at a time."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from lupa import lua51
from redis.exceptions import ResponseError

from wnc_store_redis import scripts
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import Script

Keys = dict[bytes, bytes | set[bytes] | list[bytes]]
"""The stored strings, sets and lists."""

_TTL_MS = 86_400_000
"""The TTL of every key. Nothing expires here."""


@dataclass
class FakeServer:
    """A fake Redis server with the commands for rooms and chats, and without expiry.

    Attributes:
        keys: the stored strings, sets and lists.
        appended: each entry that was ever added to a list, without its nonce.
        known: the loaded scripts by SHA-1.
    """

    keys: Keys = field(default_factory=Keys)
    appended: Counter[bytes] = field(default_factory=Counter[bytes])
    known: set[bytes] = field(default_factory=lambda: set(_sources()))

    def execute(self, command: Sequence[bytes]) -> Reply:
        """Run a command and return its reply."""
        name, *arguments = command
        if name == b"EVALSHA" and arguments[0] not in self.known:
            return ResponseError("NOSCRIPT No matching script.")
        if name == b"EVAL":
            sha = next(sha for sha, source in _sources().items() if source == arguments[0])
            self.known.add(sha)
            arguments[0] = sha
        if name in {b"EVAL", b"EVALSHA"}:
            sha, count, *rest = arguments
            return self._run(sha, rest[: int(count)], rest[int(count) :])
        return self.call(name, *arguments)

    def call(self, name: bytes, *arguments: Any) -> Any:
        """Run a command of a client or of a script."""
        words = [argument if isinstance(argument, bytes) else str(int(argument)).encode() for argument in arguments]
        return getattr(self, f"_{name.decode().lower()}")(*words)

    def _run(self, sha: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        lua = _lua()

        def call(name: bytes, *words: Any) -> Any:
            reply = self.call(name, *words)
            if isinstance(reply, list):
                return lua.table_from(reply)
            return False if reply is None else reply

        return _reply(_compiled(sha)(call, lua.table_from(keys), lua.table_from(arguments)))

    def _time(self) -> list[bytes]:
        return [b"0", b"0"]

    def _get(self, key: bytes) -> bytes | None:
        return cast("bytes | None", self.keys.get(key))

    def _set(self, key: bytes, value: bytes, *_ttl: bytes) -> None:
        self.keys[key] = value

    def _del(self, *keys: bytes) -> int:
        return sum(self.keys.pop(key, None) is not None for key in keys)

    def _exists(self, key: bytes) -> int:
        return int(key in self.keys)

    def _pttl(self, key: bytes) -> int:
        return _TTL_MS if key in self.keys else -2

    def _pexpire(self, key: bytes, _ttl: bytes) -> int:
        return int(key in self.keys)

    def _sadd(self, key: bytes, *members: bytes) -> int:
        found = cast("set[bytes]", self.keys.setdefault(key, set()))
        added = set(members) - found
        found |= added
        return len(added)

    def _srem(self, key: bytes, *members: bytes) -> int:
        found = cast("set[bytes]", self.keys.get(key, set()))
        removed = found & set(members)
        found -= removed
        if not found:
            self.keys.pop(key, None)
        return len(removed)

    def _sscan(self, key: bytes, _cursor: bytes, *_count: bytes) -> list[Any]:
        return [b"0", sorted(cast("set[bytes]", self.keys.get(key, set())))]

    def _rpush(self, key: bytes, *entries: bytes) -> int:
        found = cast("list[bytes]", self.keys.setdefault(key, []))
        found.extend(entries)
        self.appended.update(entry.rstrip() for entry in entries)
        return len(found)

    def _lindex(self, key: bytes, _last: bytes) -> bytes | None:
        kept = cast("list[bytes]", self.keys.get(key, []))
        return kept[-1] if kept else None

    def _lrange(self, key: bytes, first: bytes, last: bytes) -> list[bytes]:
        found = cast("list[bytes]", self.keys.get(key, []))
        end = int(last) + 1
        return found[int(first) : end or None]

    def _lset(self, key: bytes, index: bytes, entry: bytes) -> bytes:
        cast("list[bytes]", self.keys[key])[int(index)] = entry
        return b"OK"

    def _lrem(self, key: bytes, _all: bytes, entry: bytes) -> int:
        found = cast("list[bytes]", self.keys.get(key, []))
        kept = [one for one in found if one != entry]
        if kept:
            self.keys[key] = kept
        else:
            self.keys.pop(key, None)
        return len(found) - len(kept)

    def _ltrim(self, key: bytes, first: bytes, last: bytes) -> None:
        self.keys[key] = self._lrange(key, first, last)


def _reply(value: Any) -> Reply:
    """Return the reply for the result of a script."""
    if isinstance(value, bytes | int):
        return int(value) if isinstance(value, bool) and value else None if value is False else value
    if value is None:
        return None
    return [_reply(value[number]) for number in range(1, len(value) + 1)]


@functools.cache
def _sources() -> dict[bytes, bytes]:
    found: list[Script[Any]] = [one for one in vars(scripts).values() if isinstance(one, Script)]
    return {script.sha: script.source for script in found}


@functools.cache
def _lua() -> Any:
    return cast("Any", lua51).LuaRuntime(encoding=None)


@functools.cache
def _compiled(sha: bytes) -> Callable[..., Any]:
    source = b"function(call, KEYS, ARGV) local redis = {call = call, pcall = call} " + _sources()[sha] + b"\nend"
    return cast("Callable[..., Any]", _lua().eval(source))
