"""The Lua scripts, each from its file, whose header says what it takes and returns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source and the SHA-1 that the server knows it by."""

    source: bytes
    sha: bytes


def _read(name: str) -> Script:
    source = (files("wnc_store_redis") / "lua" / f"{name}.lua").read_bytes()
    return Script(source, hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


COMMIT = _read("commit")
REMOVE = _read("remove")
APPEND = _read("append")
SWEEP = _read("sweep")
ACQUIRE = _read("acquire")
RELEASE = _read("release")
COUNT = _read("count")
HIT = _read("hit")
