"""The product and the version of a server, and checks of the information in its INFO."""

from __future__ import annotations

import pytest

from wnc_store import ServerInfo
from wnc_store_redis import diagnostics
from wnc_store_redis.diagnostics import _identify, _parse

COMPLETE = {"maxmemory_policy": "noeviction", "aof_enabled": "1", "role": "master", "connected_slaves": "1"}
CHECKS = {
    "maxmemory_policy": diagnostics._check_eviction,
    "aof_enabled": diagnostics._check_persistence,
    "role": diagnostics._check_replication,
}


@pytest.mark.parametrize(
    ("info", "server"),
    [
        (b"redis_version:8.2.3\r\nredis_mode:standalone\r\n", ServerInfo("Redis", "8.2.3")),
        (b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n", ServerInfo("Valkey", "9.1.2")),
        (b"redis_version:7.4.0\r\ndragonfly_version:df-v1.40.1\r\n", ServerInfo("Dragonfly", "df-v1.40.1")),
        (b"# Server\r\ngarnet_version:1.0.84\r\nredis_version:7.4.3\r\n", ServerInfo("Garnet", "1.0.84")),
        (b"redis_version:7.0.15\r\nvalkey_version:\r\n", ServerInfo("Redis", "7.0.15")),
        (b"redis_version:[link=x]7\x1b[2J\r\n", None),
        (b"role:master\r\n", None),
        (b"", None),
    ],
)
def test_a_server_is_identified_by_its_own_version(info: bytes, server: ServerInfo | None) -> None:
    """A product's own version precedes that of Redis. A version with unusual characters is ignored."""
    assert _identify(_parse(info)) == server


def test_a_server_is_shown_by_name_and_version() -> None:
    """The text of a server is its name and its version."""
    assert str(ServerInfo("Valkey", "9.1.2")) == "Valkey 9.1.2"


@pytest.mark.parametrize("field", CHECKS)
def test_missing_information_is_unknown(field: str) -> None:
    """If INFO lacks the field of a check, its status is unknown; otherwise it is ok."""
    check = CHECKS[field]
    assert check(COMPLETE).status == "ok"
    without = check({name: value for name, value in COMPLETE.items() if name != field})
    assert (without.status, "INFO does not contain" in without.detail) == ("unknown", True)


def test_an_unknown_role_is_unknown() -> None:
    """If INFO contains a role that the library does not know, the status of the replication is unknown."""
    assert diagnostics._check_replication({**COMPLETE, "role": "sentinel"}).status == "unknown"
