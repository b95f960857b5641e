"""The permissions of docs/redis-acl.md are sufficient for the store."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions as driver

from acl import DOCUMENTED_PREFIX, GRANTS, PLAIN, PREFIXED, permit, url_for
from every_operation import refusals
from redis_server import RedisServer, redis_server
from wnc_store import OutcomeUnknownError, StoreSettings
from wnc_store_redis import RedisStore
from wnc_store_redis.transport.errors import to_store_error


@pytest.mark.parametrize("key_prefix", ["", DOCUMENTED_PREFIX])
async def test_the_permissions_are_sufficient(acl_server: RedisServer, administrator: Any, key_prefix: str) -> None:
    """Every operation works for the documented user, even if the server does not know the scripts."""
    async with RedisStore.from_url(
        permit(acl_server, key_prefix), StoreSettings(key_prefix=key_prefix, publish_changes=True)
    ) as store:
        assert await refusals(store) == []
    assert sorted(await administrator.keys("*")) == [
        f"{key_prefix}{name}".encode() for name in ("active-rooms", "room:B-room")
    ]


def test_both_lines_grant_the_same() -> None:
    """The command for a prefix differs only in the user's name and in the prefix of each pattern."""
    assert [word.replace(f"{word[0]}{DOCUMENTED_PREFIX}", word[0]) for word in PREFIXED[1:]] == PLAIN[1:]
    assert [word for word in PREFIXED if word[0] in "~&"] == [
        f"{word[0]}{DOCUMENTED_PREFIX}{word[1:]}" for word in PLAIN if word[0] in "~&"
    ]
    assert len(GRANTS) == len(set(GRANTS)) > 20


async def test_the_permissions_work_in_the_configuration() -> None:
    """The documented permissions create the same user in redis.conf."""
    with redis_server("--user", *PLAIN) as server:
        async with RedisStore.from_url(url_for(server)) as store:
            assert await refusals(store) == []


@pytest.mark.parametrize(
    "error",
    [
        driver.ResponseError("The user executing the script can't run this command or subcommand script: 1f, on x:1."),
        driver.ResponseError("The user executing the script can't access at least one of the keys mentioned"),
        driver.NoPermissionError("ACL failure in script: User u has no permissions to run the 'set' command"),
    ],
)
def test_errors_of_each_server_version_are_recognized(error: driver.ResponseError) -> None:
    """Servers before and after 7.2 report a denied command inside a script differently, with the same result."""
    found = to_store_error(error, endpoint="h:1", key="room:A", in_script=True)
    assert type(found) is OutcomeUnknownError
    assert "inside a script" in str(found)


async def test_health_names_what_is_missing(acl_server: RedisServer, administrator: Any) -> None:
    """Health names each missing permission. It is ok for the documented permissions and INFO, which it needs."""
    assert administrator
    async with RedisStore.from_url(permit(acl_server, without="+evalsha")) as store:
        checks = {one.name: one for one in (await store.health()).checks}
    assert "NOPERM" in checks["scripts"].detail
    assert "EVALSHA" in checks["scripts"].hint
    assert "+info" in checks["set-up"].hint
    for permission in ("-info", "+info"):
        async with RedisStore.from_url(permit(acl_server, "", permission)) as store:
            assert (await store.health()).ok == (permission == "+info")


UNFENCED = {"+client|info", "+client|kill"}
"""Without these permissions, writes work, but a write whose reply is lost is not repeated."""


@pytest.mark.parametrize("permission", GRANTS)
async def test_health_finds_each_missing_permission(
    acl_server: RedisServer, administrator: Any, permission: str
) -> None:
    """Health names each missing permission, is ok only if writes work without it, and leaves no key without a TTL."""
    settings = StoreSettings(publish_changes=True)
    async with RedisStore.from_url(permit(acl_server, "", "+info", without=permission), settings) as store:
        health = await store.health()
    assert health.ok == (permission in UNFENCED)
    if permission[0] == "+" and permission not in {"+eval", "+evalsha", "+ping"}:
        assert f"{permission[1:].upper()} is denied" in str(health.checks)
    assert [key for key in await administrator.keys("*") if await administrator.pttl(key) < 0] == []


async def test_missing_events_are_an_error_only_if_changes_are_published(
    acl_server: RedisServer, administrator: Any
) -> None:
    """Without its channel a store that does not publish its changes gets a warning, because its writes work."""
    assert administrator
    url = permit(acl_server, without="&events:*")
    for publishes, status in ((False, "warning"), (True, "error")):
        async with RedisStore.from_url(url, StoreSettings(publish_changes=publishes)) as store:
            checks = {one.name: one for one in (await store.health()).checks}
        assert (checks["scripts"].status, checks["events"].status) == ("ok", status)
        assert "PUBLISH is denied, SUBSCRIBE is denied" in checks["events"].detail
