"""None of the permissions of docs/redis-acl.md is superfluous."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis import exceptions as driver
from redis.asyncio import Redis

from acl import DOCUMENTED_PREFIX, GRANTS, permit
from chaos.server import admin
from every_operation import refusals
from redis_server import RedisServer
from wnc_store import ConfigurationError, OutcomeUnknownError, StoreSettings
from wnc_store_redis import RedisStore

IMPATIENT = StoreSettings(publish_changes=True, operation_timeout=timedelta(seconds=1))


@pytest.mark.parametrize("grant", [grant for grant in GRANTS if not grant.startswith("+client|")])
async def test_every_permission_is_needed(acl_server: RedisServer, administrator: Any, grant: str) -> None:
    """Without any one of the commands and key patterns, an operation fails with NOPERM."""
    assert administrator
    async with RedisStore.from_url(permit(acl_server, without=grant), IMPATIENT) as store:
        errors = await refusals(store)
    refused = (ConfigurationError, OutcomeUnknownError)
    assert any(isinstance(error, refused) and "NOPERM" in str(error) for error in errors)


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET *",
        "ACL LIST",
        "SCRIPT FLUSH",
        "SUBSCRIBE news",
        "SUBSCRIBE events@1:A",
        "PSUBSCRIBE events:*",
        "PUBLISH news x",
        "SELECT 1",
        "APPEND room:A x",
        "GET foreign",
        "GET other:room:A",
        "DEL active-rooms-2",
    ],
)
async def test_other_commands_are_denied(acl_server: RedisServer, administrator: Any, command: str) -> None:
    """A command that is not permitted, or a key that matches no pattern, fails with NOPERM."""
    await administrator.mset({"foreign": "x", "other:room:A": "x"})
    async with admin(permit(acl_server)) as client:
        with pytest.raises(driver.NoPermissionError):
            await client.execute_command(*command.split())
    assert await administrator.mget("foreign", "other:room:A") == [b"x", b"x"]


async def test_prefixes_are_separate(acl_server: RedisServer, administrator: Any) -> None:
    """The user for a prefix can access neither keys without a prefix nor keys with a longer one."""
    keys = ("room:A", f"{DOCUMENTED_PREFIX}2room:A", "app2:room:A")
    await administrator.mset(dict.fromkeys(keys, "x"))
    async with admin(permit(acl_server, DOCUMENTED_PREFIX)) as client:
        assert await client.get(f"{DOCUMENTED_PREFIX}room:A") is None
        for key in keys:
            with pytest.raises(driver.NoPermissionError):
                await client.get(key)


async def test_scripts_have_the_same_permissions(acl_server: RedisServer, administrator: Any) -> None:
    """A script that the user runs is limited to the same commands and keys."""
    await administrator.set("foreign", "x")
    async with admin(permit(acl_server)) as client:
        for call in ("'GET', 'foreign'", "'FLUSHALL'", "'KEYS', '*'"):
            with pytest.raises(driver.ResponseError, match=r"can't|permission"):
                await client.eval(f"return redis.call({call})", 0)
    assert await administrator.get("foreign") == b"x"


async def test_a_callers_client_needs_no_other_permissions(acl_server: RedisServer, administrator: Any) -> None:
    """A client with redis-py's defaults works with the same permissions and its handshake."""
    assert administrator
    plain: Any = Redis.from_url(permit(acl_server))  # pyright: ignore[reportUnknownMemberType]
    async with plain as client, RedisStore(client) as store:
        assert await refusals(store) == []


async def test_another_database_needs_select(acl_server: RedisServer, administrator: Any) -> None:
    """A database other than 0 fails with NOPERM until +select is added."""
    assert administrator
    async with RedisStore.from_url(permit(acl_server).replace("/0", "/1")) as store:
        with pytest.raises(ConfigurationError, match="NOPERM"):
            await store.ping()
    async with RedisStore.from_url(permit(acl_server, "", "+select", "&events@1:*").replace("/0", "/1")) as store:
        assert await refusals(store) == []
