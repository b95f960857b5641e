"""Lua scripts. The header of each file in `lua/` documents its keys, arguments and results."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from wnc_store.base import EncodedEvent


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        source: the text of the script.
        writes: whether the script may change data.
        idempotent: whether a second run for the same call changes nothing and returns the same result.
        sha: the SHA-1 digest of the source, for EVALSHA.
    """

    source: bytes
    writes: bool
    idempotent: bool
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode())


def publish_args(command: bytes, channel: bytes, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
    """Return the arguments that make a script publish events: command, channel and events; none without events."""
    return (command, channel, *(encoded_event.data for encoded_event in encoded_events)) if encoded_events else ()


def _read(name: str, *, writes: bool = True, idempotent: bool = False) -> Script:
    return Script((files("wnc_store_redis") / "lua" / f"{name}.lua").read_bytes(), writes, idempotent)


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
PUBLISH = _read("publish")
