"""`wnc-store verify --key-prefix`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import wnc_store
from redis_server import RedisServer
from wnc_store import ConfigurationError
from wnc_store_contract._process import Request, load_harness
from wnc_store_contract.memory import MemoryHarness
from wnc_store_contract.redis import RedisHarness


async def test_verify_writes_under_a_key_prefix(redis_server: RedisServer) -> None:
    """With --key-prefix, each harness of a URL has a unique key prefix that begins with it."""
    request = Request("wnc_store_contract.redis:RedisHarness", redis_server.url, None, False, True, key_prefix="app:")
    prefixes: set[str] = set()
    for _ in range(2):
        harness = load_harness(request)()
        assert isinstance(harness, RedisHarness)
        prefixes.add(harness.key_prefix)
        await harness.aclose()
    assert [prefix[:17] for prefix in prefixes] == ["app:wnc-contract-"] * 2


def test_verify_on_sqlite_under_a_key_prefix(tmp_path: Path) -> None:
    """`verify --key-prefix` runs on the SQLite example, also clauses with raw access and with further prefixes."""
    rules = "A stored room is the JSON", "A stored message is the JSON", "Stores whose key prefixes differ"
    only = (word for rule in rules for word in ("--only", rule))
    shown = wnc_store("verify", f"sqlite://{tmp_path}/rooms.db", "--key-prefix", "app:", *only, "--json").stdout
    report = json.loads(shown)
    assert (report["passed"], report["failed"], report["skipped"]) == (3, 0, 0)


class WithoutPrefix(MemoryHarness):
    """A harness that does not accept a prefix."""

    def __init__(self, url: str) -> None:
        super().__init__(url)


def test_verify_needs_a_harness_with_a_prefix() -> None:
    """`--key-prefix` is refused for a URL whose harness does not accept it, and with --harness."""
    request = Request(f"{__name__}:WithoutPrefix", "mine://", None, False, True, key_prefix="app:")
    with pytest.raises(ConfigurationError, match=r"^the harness for mine:// does not accept key_prefix: omit --key-"):
        load_harness(request)
    options = "--key-prefix", "app:", "--only", "ping_succeeds"
    stderr = wnc_store("verify", "--harness", "wnc_store_contract.memory:MemoryHarness", *options, code=2).stderr
    assert stderr == "error: --key-prefix requires a URL: the class of --harness chooses its keys itself\n"
