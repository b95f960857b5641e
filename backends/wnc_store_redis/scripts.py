"""Lua scripts. The header of each file in `lua/` documents its keys, arguments and replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from typing import TypeVar

from wnc_store.base import EncodedEvent
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import (
    decode_acquire,
    decode_append,
    decode_commit,
    decode_edit,
    decode_hit,
    decode_peek,
    decode_probe,
)
from wnc_store_redis.transport.executor import Script
from wnc_store_redis.transport.replies import Decode, expect, is_count, is_flag

_T = TypeVar("_T")


def publish_args(keys: Keys, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
    """Return the arguments that make a script publish events: command, channel and events; none without events."""
    if not encoded_events:
        return ()
    return (keys.publish, keys.events(room_id), *(encoded_event.data for encoded_event in encoded_events))


NO_EVENT = (b"", b"", b"")
"""The arguments of APPEND, EDIT and RESTORE that stand for no event."""


_LUA = files("wnc_store_redis") / "lua"


def _write(  # noqa: PLR0913 - the properties of a script
    name: str,
    decode: Decode[_T],
    commands: str,
    *,
    publish: int = 0,
    idempotent: bool = False,
    newest_first: bool | None = None,
) -> Script[_T]:
    """Read a script that writes, and put the prelude in front of it. See `lua/prelude.lua` for the arguments.

    `newest_first` is the value of the script's variable of the same name; None for a script without it.
    """
    if newest_first:
        commands = commands.replace("RPUSH", "LPUSH")
    words = (f"'{word}'" if word.isalpha() else word for word in commands.split())
    head = f"local commands, publish = {{{', '.join(words)}}}, {publish}\n".encode()
    if newest_first is not None:
        head += f"local newest_first = {str(newest_first).lower()}\n".encode()
    source = head + (_LUA / "prelude.lua").read_bytes() + (_LUA / f"{name}.lua").read_bytes()
    return Script(source, decode, writes=True, idempotent=idempotent)


def _read(name: str, decode: Decode[_T], *, writes: bool = False) -> Script[_T]:
    return Script((_LUA / f"{name}.lua").read_bytes(), decode, writes=writes, idempotent=True)


COMMIT = _write("commit", decode_commit, "SADD 2 SREM 2 SET 1 PEXPIRE 2 PEXPIRE 3 DEL 1 DEL 3", publish=7)
REMOVE = _write("remove", expect(is_flag), "SREM 2 DEL 1 DEL 3", publish=2)
APPEND, APPEND_NEWEST_FIRST = (
    _write("append", decode_append, "RPUSH 1 LTRIM 1 PEXPIRE 1", publish=7, newest_first=newest_first)
    for newest_first in (False, True)
)
EDIT, EDIT_NEWEST_FIRST = (
    _write("edit", decode_edit, "LSET 1 LTRIM 1 LREM 1 PEXPIRE 1", publish=6, newest_first=newest_first)
    for newest_first in (False, True)
)
CLEAR = _write("clear", expect(is_flag), "DEL 1", publish=1)
SWEEP = _write("sweep", expect(is_count), "SREM 1")
RESTORE, RESTORE_NEWEST_FIRST = (
    _write(
        "restore",
        expect(is_flag),
        "SADD 2 SET 1 PEXPIRE 2 PEXPIRE 3 LRANGE 3 DEL 3 RPUSH 3 LTRIM 3",
        publish=7,
        newest_first=newest_first,
    )
    for newest_first in (False, True)
)
ACQUIRE = _write("acquire", decode_acquire, "ZREMRANGEBYSCORE 1 ZADD 1 PTTL 1 PEXPIRE 1", idempotent=True)
RELEASE = _write("release", expect(is_count), "ZREM 1 ZCOUNT 1", idempotent=True)
COUNT = _read("count", expect(is_count))
HIT = _write("hit", decode_hit, "SET 1 PEXPIRE 1 INCRBY 1")
RESET = _write("reset", expect(is_flag), "DEL 1")
PEEK = _read("peek", decode_peek)
# The probe runs without the prelude, because the prelude would hide a denied command. It does not change data, so it
# may run late.
PROBE = _read("probe", decode_probe, writes=True)
# While a slot migrates, its channels stay on the server that it migrates from.
PUBLISH = replace(_write("publish", expect(is_count), "", publish=1), on_ask=True)
