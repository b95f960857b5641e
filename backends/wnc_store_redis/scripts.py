"""Lua scripts. The header of each file in `lua/` documents its keys, arguments and replies."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from wnc_store.base import EncodedEvent
from wnc_store_redis.keys import Keys
from wnc_store_redis.transport.executor import Script


def publish_args(keys: Keys, room_id: str, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
    """Return the arguments that make a script publish events: command, channel and events; none without events."""
    if not encoded_events:
        return ()
    return (keys.publish, keys.events(room_id), *(encoded_event.data for encoded_event in encoded_events))


NO_EVENT = (b"", b"", b"")
"""The arguments of APPEND and RESTORE that stand for no event."""


def _read(name: str, *, writes: bool = True, idempotent: bool = False, ask_command: bytes | None = None) -> Script:
    source = (files("wnc_store_redis") / "lua" / f"{name}.lua").read_bytes()
    return Script(source, writes, idempotent, ask_command)


COMMIT = _read("commit")
REMOVE = _read("remove")
APPEND = _read("append")
CLEAR = _read("clear")
SWEEP = _read("sweep")
RESTORE = _read("restore")
ACQUIRE = _read("acquire", idempotent=True)
RELEASE = _read("release", idempotent=True)
COUNT = _read("count", writes=False, idempotent=True)
HIT = _read("hit")
PEEK = _read("peek", writes=False, idempotent=True)
# While a slot migrates, its channels stay on the server that it migrates from.
PUBLISH = _read("publish", ask_command=b"SPUBLISH")
