"""Calls of the command executor, and the replies and failures that a `FakeRouter` returns for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import ResponseError

from virtual_time import now
from wnc_store import OutcomeUnknownError, StoreError, StoreUnavailableError
from wnc_store_redis.scripts import COMMIT, COUNT, RELEASE, RESET
from wnc_store_redis.transport.executor import CommandExecutor, ScriptCall
from wnc_store_redis.transport.retry import NoReplyError

LOST = NoReplyError(ConnectionResetError(), sent=True)
REFUSED = NoReplyError(ConnectionRefusedError(), sent=False)
LOADING = ResponseError("LOADING Redis is loading the dataset in memory")
WRONG = ResponseError("ERR something is wrong")
DENIED = ResponseError("ERR The user executing the script can't run this command or subcommand script: 1")
NOSCRIPT = ResponseError("NOSCRIPT No matching script.")

CALLS: dict[str, tuple[Callable[[CommandExecutor], Awaitable[Any]], int, type[StoreError]]] = {
    "read": (lambda commands: commands.read(b"EXISTS", b"room:A"), 5, StoreUnavailableError),
    "a script": (lambda commands: commands.run_script(RESET, [b"room:A"]), 1, OutcomeUnknownError),
    "a read-only script": (lambda commands: commands.run_script(COUNT, [b"room:A"]), 5, StoreUnavailableError),
}
"""Name of a call -> the call, its attempts without a reply, and the error after them."""

READING = {"read", "a read-only script"}
"""The calls that write nothing."""


async def commit(commands: CommandExecutor, seconds: float = 10) -> tuple[Any, bool]:
    """Run COMMIT and wait for its outcome."""
    arguments = ([b"room:A", b"k2"], [b"first"], [b"retry"])
    return await commands.call_script(ScriptCall(COMMIT, *arguments, now() + seconds))


async def release(commands: CommandExecutor) -> Any:
    """Run an idempotent script."""
    return await commands.run_script(RELEASE, [b"room:A"], b"c1")


async def failure(call: Awaitable[Any]) -> StoreError:
    """Return the error of a call, which names the key and the server."""
    with pytest.raises(StoreError) as caught:
        await call
    assert "(key 'room:A')" in str(caught.value)
    assert "host:1" in str(caught.value)
    return caught.value
