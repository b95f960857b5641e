"""Through Sentinel: failovers under load, on real servers that are killed, and what a store says of a wrong set-up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio.sentinel import Sentinel

from acknowledged import HISTORY, Load
from redis_process import RedisProcess, wait_until
from redis_sentinels import SERVICE, Service, sentinel_service
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreClosedError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore

ALL_MESSAGES = StoreSettings(chat_history_limit=HISTORY)
REPLICATED = StoreSettings(chat_history_limit=HISTORY, durability="replicated")
RESUMED_WITHIN = 3.0
LOST_WITHIN = 1.5


@pytest.fixture
def service() -> Iterator[Service]:
    """A master, two replicas and three Sentinels."""
    with sentinel_service() as made:
        yield made


def store_of(service: Service, settings: StoreSettings, url: str = "") -> RedisStore:
    """Return a store, to be opened, on whatever server is the master."""
    return RedisStore.from_url(url or service.url, settings)


async def promoted(service: Service, old: RedisProcess) -> float:
    """Wait until the Sentinels name another master; return when that was."""
    while await asyncio.to_thread(service.master) is old:  # noqa: ASYNC110 - nothing in this process knows it
        await asyncio.sleep(0.01)
    return time.monotonic()


async def fail_over(service: Service, *stores: RedisStore, killed: bool) -> tuple[list[Load], float]:
    """Write through a failover, until writes were acknowledged after it; return the loads and when it was promoted."""
    loads = [Load(store, prefix=f"{number}-") for number, store in enumerate(stores)]
    for load in loads:
        load.start(callers=40 // len(loads))
    await asyncio.sleep(0.5)
    old = service.master()
    if killed:
        await asyncio.to_thread(old.kill)
    else:
        answer = await asyncio.to_thread(service.sentinels[0].ask, "SENTINEL", "FAILOVER", SERVICE)
        assert answer == b"+OK\r\n"
    at = await promoted(service, old)
    if not killed:
        await asyncio.to_thread(wait_until, "role:slave", 20, old, words=("INFO", "replication"))
    await asyncio.sleep(RESUMED_WITHIN)
    for load in loads:
        await load.stop()
        assert min(one for one in load.acknowledged.values() if one > at) < at + RESUMED_WITHIN
    return loads, at


async def test_writes_go_on_after_the_masters_death(service: Service) -> None:
    """When the master is killed, writes go on within 3 s of the promotion; none that was replicated is lost."""
    async with store_of(service, ALL_MESSAGES) as store, store_of(service, REPLICATED) as replicated:
        loads, promotion = await fail_over(service, store, replicated, killed=True)
        for load in loads:
            assert set(load.errors) <= {"StoreUnavailableError", "StoreTimeoutError", "OutcomeUnknownError"}
        lost = await loads[0].lost(store)
        assert all(promotion - at < RESUMED_WITHIN + LOST_WITHIN for at in lost.values())
        assert await loads[1].lost(store) == {}


async def test_a_manual_failover_loses_little(service: Service) -> None:
    """Who hears the Sentinel that leads a failover loses nothing; who does not, writes of less than 1.5 s.

    None that was replicated is lost either way.
    """
    deaf = f"redis+sentinel://127.0.0.1:{service.sentinels[1].port}/{SERVICE}/0"
    async with (
        store_of(service, ALL_MESSAGES) as hears,
        store_of(service, REPLICATED) as hears_and_waits,
        store_of(service, ALL_MESSAGES, deaf) as hears_the_end,
        store_of(service, REPLICATED, deaf) as waits,
    ):
        loads, _ = await fail_over(service, hears, hears_and_waits, waits, hears_the_end, killed=False)
        for load in loads[:3]:
            assert await load.lost(hears) == {}
        for load in loads[:2]:
            assert load.errors == {}
        lost = await loads[3].lost(hears)
        assert max(lost.values(), default=0) - min(lost.values(), default=0) < LOST_WITHIN


async def test_the_death_of_sentinels_is_borne(service: Service) -> None:
    """With one Sentinel left that answers, a store goes on and a new one opens; with none, the old one goes on."""
    async with open_store(service.url) as store:
        await store.rooms.create_room(room("A"))
        await asyncio.to_thread(service.sentinels[0].kill)
        await asyncio.to_thread(service.sentinels[1].pause)
        async with open_store(service.url) as another:
            await another.rooms.add_user_to_room("A", user("guest"))
        await asyncio.to_thread(service.sentinels[2].kill)
        await store.rooms.add_user_to_room("A", user("another"))
        found = await store.rooms.get_room("A")
        assert found is not None
        assert [one.id for one in found.users] == ["host", "guest", "another"]
        short = StoreSettings(operation_timeout=timedelta(milliseconds=300))
        async with open_store(service.url, settings=short) as late:
            with pytest.raises(StoreUnavailableError):
                await late.rooms.get_room("A")


async def test_what_not_all_replicas_have_is_of_unknown_outcome(service: Service) -> None:
    """With a replica that hangs, a replicated write raises OutcomeUnknownError and says so; reads are not held up."""
    settings = StoreSettings(durability="replicated", operation_timeout=timedelta(milliseconds=600))
    async with open_store(service.url, settings=settings) as store:
        await store.rooms.create_room(room("A"))
        service.servers[1].pause()
        write = asyncio.ensure_future(store.chat.add_message(message(1, "A")))
        for _ in range(20):
            assert await store.rooms.get_room("A") is not None
        assert not write.done()
        with pytest.raises(OutcomeUnknownError, match=r"only [01] of 2 replicas have the write"):
            await write
        service.servers[1].resume()
        await store.chat.add_message(message(1, "A"))
        assert [one.id for one in await store.chat.get_messages("A")] == ["m1"]


async def test_replicated_writes_need_a_replica() -> None:
    """Where there is no replica, a replicated write is refused, and nothing happened."""
    settings = StoreSettings(durability="replicated", operation_timeout=timedelta(milliseconds=600))
    with sentinel_service(replicas=0, sentinels=1) as alone:
        async with open_store(alone.url, settings=settings) as store:
            with pytest.raises(StoreUnavailableError, match="NOREPLICAS"):
                await store.rooms.create_room(room("A"))
            assert await store.rooms.get_room("A") is None
        async with open_store(alone.servers[0].url, settings=settings) as store:
            with pytest.raises(StoreUnavailableError, match="NOREPLICAS"):
                await store.rooms.create_room(room("A"))


async def test_a_user_who_may_not_ask_for_replicas_is_told_so(service: Service) -> None:
    """A replicated write by a user who may not run INFO is a ConfigurationError, and nothing happened."""
    server = service.servers[0]
    server.ask("ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-info")
    async with open_store(server.url.replace("//", "//blind:secret@"), settings=REPLICATED) as store:
        with pytest.raises(ConfigurationError, match="NOPERM"):
            await store.rooms.create_room(room("A"))
    assert server.ask("EXISTS", "room:A") == b":0\r\n"


async def test_replicated_writes_work_without_sentinels(service: Service) -> None:
    """A store on a single server asks it for its replicas, and waits for them."""
    async with open_store(service.servers[0].url, settings=REPLICATED) as store:
        await store.rooms.create_room(room("A"))
        for replica in service.servers[1:]:
            assert b"\r\n1\r\n" not in replica.ask("EXISTS", "nothing")
            assert replica.ask("EXISTS", "room:A") == b":1\r\n"


async def test_a_replicated_write_that_a_close_overtakes_is_told_truthfully(service: Service) -> None:
    """Who is told that the store is closed has written nothing, also where the replicas had not answered yet."""
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


async def test_no_write_while_a_failover_does_not_end(service: Service) -> None:
    """A write that a failover holds back until its time is over did not happen."""
    settings = StoreSettings(operation_timeout=timedelta(milliseconds=400))
    async with open_store(service.url, settings=settings) as store:
        await store.rooms.create_room(room("A"))
        for replica in service.servers[1:]:
            replica.pause()  # none can be promoted
        assert await asyncio.to_thread(service.sentinels[0].ask, "SENTINEL", "FAILOVER", SERVICE) == b"+OK\r\n"
        await asyncio.sleep(0.2)
        with pytest.raises(StoreTimeoutError):
            await store.rooms.add_user_to_room("A", user("guest"))
        found = await store.rooms.get_room("A")
        assert found is not None
        assert [one.id for one in found.users] == ["host"]


async def test_a_callers_sentinel_client_is_used(service: Service) -> None:
    """A client that Sentinel.master_for made finds the master, and is not closed; slave_for's is refused."""
    manager: Any = Sentinel([("127.0.0.1", one.port) for one in service.sentinels])
    client = manager.master_for(SERVICE)
    async with RedisStore(client) as store:
        await store.rooms.create_room(room("A"))
        assert SERVICE in store._commands._route.where
    assert await client.exists("room:A") == 1
    with pytest.raises(ConfigurationError, match="master_for"):
        RedisStore(manager.slave_for(SERVICE))
    await client.aclose()
    await manager.aclose()


async def test_a_wrong_service_is_said(service: Service) -> None:
    """A service that the Sentinels do not know is a ConfigurationError."""
    async with open_store(service.url.replace(f"/{SERVICE}/", "/nothing/")) as store:
        with pytest.raises(ConfigurationError, match="there is no Redis at service nothing"):
            await store.rooms.get_room("A")


async def test_a_wrong_password_of_sentinels_is_said() -> None:
    """A password that a Sentinel does not want is a ConfigurationError that does not show it; the right one is used."""
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
def test_wrong_urls_are_refused(url: str) -> None:
    """A URL without a service, with a wrong port or an unknown option is refused before anything is connected to."""
    with pytest.raises(ConfigurationError, match=r"looks like redis\+(sentinel|cluster)://user"):
        open_store(url.replace("//h1", "//me:secret@h1"))
