"""Sentinel: failovers under load on real servers, and errors of a wrong configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio.sentinel import Sentinel

from acknowledged import HISTORY, PATIENT, REPLICATED, check_failover
from counting import tasks_of_calls
from redis_sentinels import SERVICE, Service, sentinel_service
from waiting import wait_until
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore


@pytest.fixture(scope="module", name="calm_service")
def _calm_service() -> Iterator[Service]:
    """A master, two replicas and three Sentinels, shared by tests that leave them unchanged."""
    with sentinel_service() as made:
        yield made


@pytest.fixture
def service(calm_service: Service) -> Iterator[Service]:
    """The shared service, without data."""
    yield calm_service
    calm_service.servers[0].ask("FLUSHALL")


@pytest.fixture
def mortal() -> Iterator[Service]:
    """A service for a single test."""
    with sentinel_service() as made:
        yield made


def is_failing_over(store: Any) -> bool:
    """Return whether a store knows that a failover is in progress."""
    return store._commands._router._monitor.is_failing_over()


async def test_calls_start_no_tasks(service: Service) -> None:
    """Once the master is known, a call starts no additional task."""
    async with RedisStore.from_url(service.url, PATIENT) as store:
        assert await tasks_of_calls(store) == []


async def test_writes_continue_after_a_failover(mortal: Service) -> None:
    """After the master's death under load, writes continue, and neither later nor replicated writes are lost."""
    old = mortal.servers[0]

    async def replace() -> None:
        old.kill()
        mortal.fail_over()
        await wait_until(lambda: mortal.master() is not old)

    async with (
        RedisStore.from_url(mortal.url, PATIENT) as store,
        RedisStore.from_url(mortal.url, REPLICATED) as replicated,
    ):
        await check_failover(store, replicated, replace)


async def test_writes_wait_during_a_failover(mortal: Service) -> None:
    """A write during a failover waits for its end. If its deadline passes before, the write did not happen."""
    impatient = StoreSettings(operation_timeout=timedelta(milliseconds=300))
    async with open_store(mortal.url, settings=REPLICATED) as replicated:
        await replicated.rooms.create_room(room("A"))
    async with open_store(f"{mortal.url}?sentinel_socket_timeout=60", settings=PATIENT) as store:
        await store.ping()
        old, *replicas = mortal.servers
        for replica in replicas:
            replica.pause()  # so that no replica can be promoted
        mortal.fail_over()
        await wait_until(lambda: is_failing_over(store))
        write = asyncio.ensure_future(store.rooms.add_user_to_room("A", user("patient")))
        # A Sentinel may be slow: without its reply, the store does not know of the failover.
        async with open_store(f"{mortal.url}?sentinel_socket_timeout=60", settings=impatient) as hasty:
            with suppress(StoreError):
                await hasty.ping()  # starts monitoring the Sentinels
            await wait_until(lambda: is_failing_over(hasty))
            with pytest.raises(StoreTimeoutError):
                await hasty.rooms.add_user_to_room("A", user("hasty"))
        found = await store.rooms.get_room("A")
        assert found is not None
        assert [one.id for one in found.users] == ["host"]
        assert not write.done()
        assert mortal.master() is old
        for replica in replicas:
            replica.resume()
        assert [one.id for one in (await write).users] == ["host", "patient"]
        assert mortal.master() is not old


async def test_sentinels_die(mortal: Service) -> None:
    """One available Sentinel is sufficient to open a store, and an open store needs none."""
    async with open_store(mortal.url, settings=PATIENT) as store:
        await store.rooms.create_room(room("A"))
        mortal.sentinels[0].kill()
        await asyncio.to_thread(mortal.sentinels[1].pause)
        async with open_store(mortal.url, settings=PATIENT) as another:
            await another.rooms.add_user_to_room("A", user("guest"))
        mortal.sentinels[2].kill()
        await store.rooms.add_user_to_room("A", user("another"))
        found = await store.rooms.get_room("A")
        assert found is not None
        assert [one.id for one in found.users] == ["host", "guest", "another"]
        hasty = StoreSettings(operation_timeout=timedelta(milliseconds=300))
        async with open_store(mortal.url, settings=hasty) as late:
            with pytest.raises(StoreUnavailableError):
                await late.rooms.get_room("A")


async def test_a_write_that_not_all_replicas_confirm(mortal: Service) -> None:
    """With a paused replica, a replicated write raises OutcomeUnknownError, and reads are not delayed."""
    settings = StoreSettings(durability="replicated", operation_timeout=timedelta(seconds=30))
    async with open_store(mortal.url, settings=settings) as store:
        await store.rooms.create_room(room("A"))
        mortal.servers[1].pause()
        write = asyncio.ensure_future(store.chat.add_message(message(1, "A")))
        for _ in range(20):
            assert await store.rooms.get_room("A") is not None
        assert not write.done()
        with pytest.raises(OutcomeUnknownError, match=r"only [01] of 2 replicas have confirmed the write"):
            await write
        mortal.servers[1].resume()
        await store.chat.add_message(message(1, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]


async def test_replicated_writes_need_a_replica() -> None:
    """Without a replica, a replicated write fails and does not happen, with Sentinels and without."""
    settings = StoreSettings(durability="replicated", operation_timeout=timedelta(seconds=2))
    with sentinel_service(replicas=0, sentinels=1) as alone:
        for url in (alone.url, alone.servers[0].url):
            async with open_store(url, settings=settings) as store:
                with pytest.raises(StoreUnavailableError, match="NOREPLICAS"):
                    await store.rooms.create_room(room("A"))
                assert await store.rooms.get_room("A") is None


@pytest.mark.parametrize(
    ("denied", "error", "reason", "exists"),
    [
        ("info", ConfigurationError, "NOPERM", 0),
        ("wait", OutcomeUnknownError, r"but WAIT failed with NOPERM \(grant \+wait to the user\)", 1),
    ],
)
async def test_a_user_without_a_permission(
    service: Service, denied: str, error: type[StoreError], reason: str, exists: int
) -> None:
    """A replicated write without INFO does not happen; without WAIT its outcome is unknown. The error names both."""
    server = service.servers[0]
    server.ask("ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", f"-{denied}")
    async with open_store(server.url.replace("//", "//limited:secret@"), settings=REPLICATED) as store:
        with pytest.raises(error, match=reason):
            await store.rooms.create_room(room("A"))
    assert server.ask("EXISTS", "room:A") == f":{exists}\r\n".encode()


async def test_replicated_writes_work_without_sentinels(service: Service) -> None:
    """A store on a standalone server discovers its replicas and waits for them."""
    async with open_store(service.servers[0].url, settings=REPLICATED) as store:
        await store.rooms.create_room(room("A"))
        for replica in service.servers[1:]:
            assert b"\r\n1\r\n" not in replica.ask("EXISTS", "nothing")
            assert replica.ask("EXISTS", "room:A") == b":1\r\n"


async def test_a_close_during_a_replicated_write(service: Service) -> None:
    """A replicated write that raises StoreClosedError did not happen, even before the replicas confirmed."""
    url = service.servers[0].url
    async with open_store(url, settings=StoreSettings(chat_history_limit=HISTORY)) as direct:
        for ticks in range(12):
            store = open_store(url, settings=REPLICATED)
            await store.chat.add_message(message(0, f"A{ticks}"))
            calls = [asyncio.ensure_future(store.chat.add_message(message(one, f"A{ticks}"))) for one in range(1, 40)]
            for _ in range(ticks):
                await asyncio.sleep(0)
            await store.aclose()
            ended = await asyncio.gather(*calls, return_exceptions=True)
            found = {one.id for one in await direct.chat.get_messages(f"A{ticks}")}
            told = {type(one) for one in ended}
            assert told <= {type(None), StoreClosedError, OutcomeUnknownError}
            assert not [n for n, one in enumerate(ended, 1) if isinstance(one, StoreClosedError) and f"m{n}" in found]


async def test_a_callers_sentinel_client_is_used(service: Service) -> None:
    """A client from Sentinel.master_for uses the master and is not closed, and one from slave_for is rejected."""
    manager: Any = Sentinel([("127.0.0.1", one.port) for one in service.sentinels])
    client = manager.master_for(SERVICE)
    async with RedisStore(client) as store:
        await store.rooms.create_room(room("A"))
        assert SERVICE in store._commands._router.endpoint
    assert await client.exists("room:A") == 1
    with pytest.raises(ConfigurationError, match="master_for"):
        RedisStore(manager.slave_for(SERVICE))
    await client.aclose()
    await manager.aclose()


async def test_an_unknown_service(service: Service) -> None:
    """A service that the Sentinels do not monitor raises a ConfigurationError."""
    async with open_store(service.url.replace(f"/{SERVICE}/", "/nothing/")) as store:
        with pytest.raises(ConfigurationError, match=r"Redis at service nothing .* was not found"):
            await store.rooms.get_room("A")


async def test_a_wrong_password_of_sentinels() -> None:
    """A wrong password of the Sentinels raises a ConfigurationError without the password, and the right one works."""
    with sentinel_service(replicas=0, sentinels=1, password="of-sentinels") as guarded:
        async with open_store(f"{guarded.url}?sentinel_password=mistaken") as store:
            with pytest.raises(ConfigurationError, match="credentials") as caught:
                await store.rooms.get_room("A")
            assert "mistaken" not in str(caught.value)
        async with open_store(f"{guarded.url}?sentinel_password=of-sentinels") as store:
            await store.ping()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1:26379",
        "redis+sentinel://h1:26379/",
        "redis+sentinel://h1:26379/service/zero",
        "redis+sentinel://h1:26379/service/0/1",
        "redis+sentinel:///service",
        "redis+sentinel://h1:port/service",
        "redis+sentinel://h1/service?nonsense=1",
        "redis+sentinel://h1/service?sentinel_nonsense=1",
        "redis+cluster://",
        "redis+cluster://h1:1,:2",
        "redis+cluster://h1:6379/1",
        "redis+cluster://h1:6379?nonsense=1",
    ],
)
def test_invalid_urls_are_rejected(url: str) -> None:
    """A URL without a service, with an invalid port or an unknown option is rejected before any connection."""
    with pytest.raises(ConfigurationError, match=r"a URL like redis\+(sentinel|cluster)://user"):
        open_store(url.replace("//h1", "//me:secret@h1"))
