"""The time of the script that appends a message, on an interpreter of Lua instead of a server."""

from __future__ import annotations

import time
from typing import Any

import pytest
from lupa import lua51

from wnc_store import to_wire
from wnc_store_contract.factories import message
from wnc_store_redis.scripts import APPEND

SERVER = b"""
redis = {
  call = function(name) return name == 'LRANGE' and CHAT or name == 'PTTL' and -1 or '1' end,
  pcall = function(name) return {0, 0} end,
}
"""
TEXTS = ["\\u0069", "\\", '"', "i", "\ud6d6", '"id"', '"id":"', '"id"  ', '"id":"a\\']
SIZE, GROWTH = 1024, 16


def cpu_seconds(text: str) -> float:
    """Return the CPU time of an append to a chat with this text."""
    module: Any = lua51
    lua = module.LuaRuntime(encoding=None)
    lua.execute(SERVER)
    table, variables = lua.table, lua.globals()
    variables[b"CHAT"] = table(to_wire(message(1, "A", message=text)))
    variables[b"KEYS"] = table(b"chat:A")
    times: list[float] = []
    for _ in range(3):
        variables[b"ARGV"] = table(b"{}", b"m2", b"4", b"60000", b"", b"", b"", b"", b"", b"9" * 13)
        start = time.thread_time()
        lua.execute(APPEND.source)
        times.append(time.thread_time() - start)
    return min(times)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("start", ["", '"'])
def test_the_search_for_an_id_takes_linear_time(start: str, text: str) -> None:
    """The CPU time of an append grows with the size of the chat, and not with its square, for any text."""
    small = cpu_seconds(start + text * (SIZE // len(text)))
    large = cpu_seconds(start + text * (SIZE * GROWTH // len(text)))
    assert large < GROWTH**1.5 * small
