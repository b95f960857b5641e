"""The Lua scripts, each from its file, whose header says what it takes and returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from wnc_store.base import EncodedEvent


@dataclass(frozen=True, slots=True)
class Script:
    """A script.

    Attributes:
        source: its text.
        sha: the SHA-1 that the server knows it by.
        writes: whether it changes anything.
        repeatable: whether it may run twice for one call: the second time changes nothing and answers the same.
    """

    source: bytes
    writes: bool
    idempotent: bool
    sha: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode())


def publish_args(command: bytes, channel: bytes, encoded_events: Sequence[EncodedEvent]) -> Sequence[bytes]:
    """Return the arguments that let a script publish events: command, channel and each event, or nothing."""
    return (command, channel, *(encoded_event.data for encoded_event in encoded_events)) if encoded_events else ()


def _read(name: str, *, writes: bool = True, repeatable: bool = False) -> Script:
    return Script((files("wnc_store_redis") / "lua" / f"{name}.lua").read_bytes(), writes, repeatable)


COMMIT = _read("commit")
REMOVE = _read("remove")
APPEND = _read("append")
CLEAR = _read("clear")
SWEEP = _read("sweep")
RESTORE = _read("restore")
ACQUIRE = _read("acquire", repeatable=True)
RELEASE = _read("release", repeatable=True)
COUNT = _read("count", writes=False, repeatable=True)
HIT = _read("hit")
PEEK = _read("peek", writes=False, repeatable=True)
PUBLISH = _read("publish")
