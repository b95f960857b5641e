"""Lua scripts. The header of each file in `lua/` documents its keys, arguments and replies."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from wnc_store.base import EncodedEvent
from wnc_store_redis.keys import Keys
from wnc_store_redis.script_results import (
    is_acquire_reply,
    is_append_reply,
    is_commit_reply,
    is_hit_reply,
    is_peek_reply,
    is_probe_reply,
)
from wnc_store_redis.transport.executor import Script
from wnc_store_redis.transport.replies import IsValid, is_count, is_flag


def publish_args(keys: Keys, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
    """Return the arguments that make a script publish events: command, channel and events; none without events."""
    if not encoded_events:
        return ()
    return (keys.publish, keys.events(room_id), *(encoded_event.data for encoded_event in encoded_events))


NO_EVENT = (b"", b"", b"")
"""The arguments of APPEND and RESTORE that stand for no event."""


def _read(
    name: str, is_valid: IsValid, *, writes: bool = True, idempotent: bool = False, on_ask: bool = False
) -> Script:
    folder = files("wnc_store_redis") / "lua"
    source = (folder / f"{name}.lua").read_bytes()
    if writes and name != "probe":  # it changes no data, so it may run late; it ignores the last argument
        source = (folder / "prelude.lua").read_bytes() + source
    return Script(source, is_valid, writes, idempotent, on_ask)


COMMIT = _read("commit", is_commit_reply)
REMOVE = _read("remove", is_flag)
APPEND = _read("append", is_append_reply)
CLEAR = _read("clear", is_flag)
SWEEP = _read("sweep", is_count)
RESTORE = _read("restore", is_flag)
ACQUIRE = _read("acquire", is_acquire_reply, idempotent=True)
RELEASE = _read("release", is_count, idempotent=True)
COUNT = _read("count", is_count, writes=False, idempotent=True)
HIT = _read("hit", is_hit_reply)
RESET = _read("reset", is_flag)
PEEK = _read("peek", is_peek_reply, writes=False, idempotent=True)
PROBE = _read("probe", is_probe_reply, idempotent=True)
# While a slot migrates, its channels stay on the server that it migrates from.
PUBLISH = _read("publish", is_count, on_ask=True)
