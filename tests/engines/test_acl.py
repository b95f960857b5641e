"""The permissions of docs/redis-acl.md are enough for the store, and none of them is too much."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis import exceptions as driver
from redis.asyncio import Redis

from acl import DOCUMENTED_PREFIX, PLAIN, PREFIXED, permit, url_for
from redis_server import RedisServer, redis_server
from wnc_store import ConfigurationError, OutcomeUnknownError, RoomChanged, StoreError, StoreSettings, VideoState
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis._errors import translate

PREFIXES = ["", DOCUMENTED_PREFIX]
PUBLISHING = StoreSettings(publish_changes=True)
GRANTS = [word for word in PLAIN if word[0] in "~&+"]


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[RedisServer]:
    """A server whose users come and go with these tests."""
    with redis_server() as server:
        yield server


@pytest.fixture
async def administrator(server: RedisServer) -> AsyncIterator[Any]:
    """The default user, on a server without data and without scripts."""
    plain: Any = Redis.from_url(server.url)  # pyright: ignore[reportUnknownMemberType]
    async with plain as made:
        await made.flushall()
        await made.script_flush()
        yield made


async def refusals(store: RedisStore) -> list[StoreError]:
    """Try every operation, each script unknown to the server at first, and return the errors."""
    rooms, chat, connections, limits = store.rooms, store.chat, store.connections, store.rate_limits

    async def listed() -> list[str]:
        return [one async for one in rooms.active_room_ids()]

    async def subscribe() -> None:
        async with store.events.subscribe("A"):
            pass

    errors: list[StoreError] = []
    for operation in (
        store.ping,
        subscribe,
        subscribe,  # the refusal to unsubscribe comes with this one
        lambda: store.events.publish("A", RoomChanged(room_id="A")),
        lambda: rooms.create_room(room("A")),
        lambda: rooms.create_room(room("B")),
        lambda: rooms.get_room("A"),
        lambda: rooms.room_exists("A"),
        lambda: rooms.room_ttl("A"),
        listed,
        lambda: rooms.update_room("A", room("A")),
        lambda: rooms.edit_room("A", lambda found: found),
        lambda: rooms.add_user_to_room("A", user("guest")),
        lambda: rooms.transfer_host("A", "guest"),
        lambda: rooms.update_video_state("A", VideoState(is_playing=True, current_time=1, duration=2)),
        lambda: rooms.set_video_url("A", "https://video.example/1"),
        lambda: rooms.remove_user_from_room("A", "guest"),
        rooms.sweep_active_rooms,
        lambda: chat.add_message(message(1, "A")),
        lambda: chat.get_messages("A"),
        lambda: chat.chat_ttl("A"),
        lambda: chat.clear_messages("A"),
        lambda: connections.acquire("ip", "c1", limit=2),
        lambda: connections.count("ip"),
        lambda: connections.release("ip", "c1"),
        lambda: limits.hit("ip"),
        lambda: limits.hit("ip"),
        lambda: limits.peek("ip"),
        lambda: limits.reset("ip"),
        lambda: rooms.delete_room("A"),
    ):
        try:
            await operation()
        except StoreError as error:
            errors.append(error)
    return errors


@pytest.mark.parametrize("key_prefix", PREFIXES)
async def test_the_line_is_enough(server: RedisServer, administrator: Any, key_prefix: str) -> None:
    """As the documented user, every operation works, also where the server has forgotten the scripts."""
    async with RedisStore.from_url(
        permit(server, key_prefix), StoreSettings(key_prefix=key_prefix, publish_changes=True)
    ) as store:
        assert await refusals(store) == []
    assert sorted(await administrator.keys("*")) == [
        f"{key_prefix}{name}".encode() for name in ("active-rooms", "room:B")
    ]


@pytest.mark.parametrize("grant", GRANTS)
async def test_no_word_is_too_much(server: RedisServer, administrator: Any, grant: str) -> None:
    """Without any one of the commands and key patterns, an operation is refused with NOPERM."""
    assert administrator
    async with RedisStore.from_url(permit(server, without=grant), PUBLISHING) as store:
        errors = await refusals(store)
    refused = (ConfigurationError, OutcomeUnknownError)
    assert any(isinstance(error, refused) and "NOPERM" in str(error) for error in errors)


def test_both_lines_grant_the_same() -> None:
    """The line for a prefix differs in the user's name and in the prefix before each pattern, and in nothing else."""
    assert [word.replace(f"{word[0]}{DOCUMENTED_PREFIX}", word[0]) for word in PREFIXED[1:]] == PLAIN[1:]
    assert [word for word in PREFIXED if word[0] in "~&"] == [
        f"{word[0]}{DOCUMENTED_PREFIX}{word[1:]}" for word in PLAIN if word[0] in "~&"
    ]
    assert len(GRANTS) == len(set(GRANTS)) > 20


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
async def test_everything_else_is_refused(server: RedisServer, administrator: Any, command: str) -> None:
    """A command that is not in the line, or a key that fits no pattern, is refused with NOPERM."""
    await administrator.mset({"foreign": "x", "other:room:A": "x"})
    plain: Any = Redis.from_url(permit(server))  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        with pytest.raises(driver.NoPermissionError):
            await client.execute_command(*command.split())
    assert await administrator.mget("foreign", "other:room:A") == [b"x", b"x"]


async def test_a_prefix_is_a_wall(server: RedisServer, administrator: Any) -> None:
    """The user of a prefix reaches neither the keys without one nor those of a longer one."""
    keys = ("room:A", f"{DOCUMENTED_PREFIX}2room:A", "app2:room:A")
    await administrator.mset(dict.fromkeys(keys, "x"))
    plain: Any = Redis.from_url(permit(server, DOCUMENTED_PREFIX))  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        assert await client.get(f"{DOCUMENTED_PREFIX}room:A") is None
        for key in keys:
            with pytest.raises(driver.NoPermissionError):
                await client.get(key)


async def test_a_script_reaches_no_further(server: RedisServer, administrator: Any) -> None:
    """A script of the user's own is held to the same commands and keys."""
    await administrator.set("foreign", "x")
    plain: Any = Redis.from_url(permit(server))  # pyright: ignore[reportUnknownMemberType]
    async with plain as client:
        for call in ("'GET', 'foreign'", "'FLUSHALL'", "'KEYS', '*'"):
            with pytest.raises(driver.ResponseError, match=r"can't|permission"):
                await client.eval(f"return redis.call({call})", 0)
    assert await administrator.get("foreign") == b"x"


async def test_a_callers_client_needs_no_more(server: RedisServer, administrator: Any) -> None:
    """A client with redis-py's defaults, whatever it says when it connects, works with the same line."""
    assert administrator
    plain: Any = Redis.from_url(permit(server))  # pyright: ignore[reportUnknownMemberType]
    async with plain as client, RedisStore(client) as store:
        assert await refusals(store) == []


async def test_the_line_fits_into_the_configuration() -> None:
    """The words of the line make the same user in redis.conf."""
    with redis_server("--user", *PLAIN) as server:
        async with RedisStore.from_url(url_for(server)) as store:
            assert await refusals(store) == []


async def test_another_database_needs_select(server: RedisServer, administrator: Any) -> None:
    """A database other than 0 is refused with NOPERM, until +select is added."""
    assert administrator
    async with RedisStore.from_url(permit(server).replace("/0", "/1")) as store:
        with pytest.raises(ConfigurationError, match="NOPERM"):
            await store.ping()
    async with RedisStore.from_url(permit(server, "", "+select", "&events@1:*").replace("/0", "/1")) as store:
        assert await refusals(store) == []


async def test_a_script_that_is_cut_short_says_so(server: RedisServer, administrator: Any) -> None:
    """A command that is refused inside a script leaves what was done before: the outcome is unknown."""
    async with RedisStore.from_url(permit(server, without="+pexpire")) as store:
        with pytest.raises(OutcomeUnknownError, match=r"inside a script \(key 'room:A'\) with NOPERM"):
            await store.rooms.create_room(room("A"))
    assert sorted(await administrator.keys("*")) == [b"active-rooms", b"room:A"]


@pytest.mark.parametrize(
    "error",
    [
        driver.ResponseError("The user executing the script can't run this command or subcommand script: 1f, on x:1."),
        driver.ResponseError("The user executing the script can't access at least one of the keys mentioned"),
        driver.NoPermissionError("ACL failure in script: User u has no permissions to run the 'set' command"),
    ],
)
def test_each_server_is_understood(error: driver.ResponseError) -> None:
    """What servers before and after 7.2 say of a command inside a script is the same error."""
    found = translate(error, where="h:1", key="room:A", in_script=True)
    assert type(found) is OutcomeUnknownError
    assert "inside a script" in str(found)
