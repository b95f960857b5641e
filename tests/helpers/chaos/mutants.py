"""Mutants of the Redis backend that violate a promise only under faults of the network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from wnc_store import Record, to_wire
from wnc_store_contract.faults.judge import RULES
from wnc_store_redis import chat, events, limiters, restore, room_storage, rooms
from wnc_store_redis.scripts import APPEND, HIT, RESTORE, SWEEP
from wnc_store_redis.transport import multiplexer
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import CommandExecutor, Script, ScriptCall
from wnc_store_redis.transport.session import Session, start_session

_to_store_error, _finish_script = CommandExecutor.to_store_error, CommandExecutor.finish_script


def _edited(script: Script[Any], part: bytes, wrong: bytes) -> Script[Any]:
    assert part in script.source
    return replace(script, source=script.source.replace(part, wrong))


def _told_as_refused(commands: CommandExecutor, error: BaseException, key: bytes, **_options: Any) -> Any:
    return _to_store_error(commands, error, key)


async def _repeated(commands: CommandExecutor, call: ScriptCall[Any], first: asyncio.Future[Reply]) -> Any:
    call.retry_args = call.retry_args and call.arguments
    result, _ = await _finish_script(commands, call, first)
    return result, False


def _same_nonce(record: Record, _nonce: str) -> bytes:
    return to_wire(record, " " * 16)


async def _unfenced(connection: Any, _predecessor: Session) -> Session:
    return await start_session(connection, Session())


async def _last_step(store: Any) -> int:
    removed = 0
    async for pages in store._storage.index_pages():
        for outcome in await store._storage.prune_index(pages):
            if not isinstance(outcome, int):
                raise outcome
            removed += outcome
    return removed


def _silent(_events: object, _channels: Sequence[bytes]) -> None:
    pass


_DROPS_LATE = b"if now > tonumber(table.remove(ARGV)) then"
_NEVER_LATE = b"table.remove(ARGV)\nif false then"


@dataclass(frozen=True)
class RedisMutant:
    """A wrong replacement of an attribute.

    Attributes:
        owner: the module or class that has the attribute.
        name: the name of the attribute.
        wrong: the replacement.
        kind: the kind of load that detects the mutant; see `random_faults`.
        mode: the mode that detects it.
        rule: the rule that the calls of `wnc-store verify --faults` violate, if they detect it, too.
    """

    owner: Any
    name: str
    wrong: Any
    kind: str
    mode: str
    rule: str | None = None

    def applied(self) -> AbstractContextManager[object]:
        """Return a context in which the attribute is replaced."""
        return patch.object(self.owner, self.name, self.wrong)


MUTANTS = {
    "a hit is retried": RedisMutant(
        limiters, "HIT", replace(HIT, idempotent=True), "limits", "cuts", rule=RULES["limits"]
    ),
    "a retry does not recognize its message": RedisMutant(
        chat,
        "APPEND",
        _edited(APPEND, b"if is_present or #similar > 1", b"if false"),
        "messages",
        "cuts",
        rule=RULES["chats"],
    ),
    "an unknown outcome is reported as refused": RedisMutant(
        CommandExecutor, "to_store_error", _told_as_refused, "messages", "two stores"
    ),
    "a retry appends without its anchor": RedisMutant(
        chat, "APPEND", _edited(APPEND, b"if not has_anchor", b"if false"), "messages", "two stores"
    ),
    "equal messages are stored as equal bytes": RedisMutant(chat, "to_wire", _same_nonce, "messages", "two stores"),
    "a commit is repeated": RedisMutant(CommandExecutor, "finish_script", _repeated, "rooms", "cuts"),
    "lost connections are not killed": RedisMutant(multiplexer, "start_session", _unfenced, "leases", "late"),
    "a room is restored as equal bytes": RedisMutant(restore, "to_wire", _same_nonce, "restore", "two stores"),
    "a restoration is retried": RedisMutant(
        restore, "RESTORE", replace(RESTORE, idempotent=True), "restore", "two stores"
    ),
    "a hit may run late": RedisMutant(limiters, "HIT", _edited(HIT, _DROPS_LATE, _NEVER_LATE), "limits", "late"),
    "a sweep reports its last step": RedisMutant(rooms.RedisRoomStore, "_prune_index", _last_step, "sweep", "cuts"),
    "a sweep is retried": RedisMutant(room_storage, "SWEEP", replace(SWEEP, idempotent=True), "sweep", "cuts"),
    "a gap is not marked": RedisMutant(events.RedisRoomEvents, "_mark_gap", _silent, "events", "two stores"),
}
