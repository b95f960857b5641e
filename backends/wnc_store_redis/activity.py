"""What a Redis server says of its work. Only names of commands and scripts: what they were called with is private."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from wnc_store import ConfigurationError, ServerActivity, ServerOperation, SlowLogEntry
from wnc_store_redis import scripts
from wnc_store_redis.keys import Keys
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import CommandExecutor

_REMEMBERED = b"32"
"""Of the slow log: the latest so many."""

_COUNTED = re.compile(r"^cmdstat_([^:]+):calls=(\d+),usec=(\d+)", re.MULTILINE)
_NAME = re.compile(r"[a-z_|-]{1,40}")
_SCRIPTS = {script.sha: name.lower() for name, script in vars(scripts).items() if isinstance(script, scripts.Script)}


async def activity(commands: CommandExecutor, keys: Keys) -> ServerActivity:
    """Do what `SupportsServerActivity.activity` says."""
    untold: list[str] = []

    async def ask(permission: str, *command: bytes) -> Reply | None:
        try:
            return await commands.read(*command)
        except ConfigurationError:
            untold.append(f"the user may not run {command[0].decode()}: grant it {permission}")
            return None

    listed = await ask("+scard", b"SCARD", keys.active_rooms)
    counted = await ask("+info", b"INFO", b"commandstats")
    slow = await ask("+slowlog|get", b"SLOWLOG", b"GET", _REMEMBERED)
    operations = (
        ServerOperation(name, int(calls), int(microseconds) / 1e6)
        for name, calls, microseconds in _COUNTED.findall((counted or b"").decode())
    )
    return ServerActivity(listed, tuple(operations), tuple(map(_slow, slow or ())), tuple(untold))


def _slow(entry: Reply) -> SlowLogEntry:
    _, at, microseconds, words, *_ = entry
    return SlowLogEntry(_name(words), microseconds / 1e6, datetime.fromtimestamp(at, UTC))


def _name(words: list[bytes]) -> str:
    name = words[0].decode("utf-8", "replace").lower()
    if name == "evalsha" and len(words) > 1 and words[1] in _SCRIPTS:
        return f"script {_SCRIPTS[words[1]]}"
    return name if _NAME.fullmatch(name) else "unknown"
