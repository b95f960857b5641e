"""Events on a cluster whose slots move and whose masters die or hang: nothing is missing without a Resync."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError

from redis_cluster import Cluster, begin_migration, migrate, redis_cluster, set_owner
from redis_process import wait_until
from told import PUBLISHING, event, observed, one
from waiting import until
from wnc_store import Resync, StoreSettings
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis import _subscriber as subscriber
from wnc_store_redis._server import pack_command
from wnc_store_redis._sharded_subscriber import ShardedSubscriber


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes."""
    async with RedisStore.from_url(cluster.url, PUBLISHING) as made:
        yield made


def other_than(master: int) -> int:
    """Return another master."""
    return (master + 1) % 3


async def test_a_room_that_moves_is_told_of_a_gap(cluster: Cluster, store: RedisStore) -> None:
    """When a slot moves, the readers of its room get a Resync and hear on from its new master; no others do."""
    owner = cluster.owner("room:moves")
    target = other_than(owner)
    stays = next(
        name
        for name in cluster.names("stays", owner, 1000)
        if cluster.owner(f"chat:{name}") == cluster.owner("chat:moves")
    )
    await store.rooms.create_room(room("moves"))
    async with store.events.subscribe("moves") as moved, store.events.subscribe(stays) as stayed:
        slot, channel = key_slot(b"room:moves"), "events:{room:moves}"
        subscribed = f"*2\r\n${len(channel)}\r\n{channel}\r\n:1\r\n".encode()
        for number, ends in enumerate([(owner, target), (target, owner)]):
            await asyncio.to_thread(migrate, cluster, slot, *ends)
            assert await one(moved) == Resync(room_id="moves")
            for name, events in (("moves", moved), (stays, stayed)):
                await store.events.publish(name, event(number, name))
                assert await one(events) == event(number, name)
            assert cluster.masters[ends[1]].ask("PUBSUB", "SHARDNUMSUB", channel) == subscribed
    await store.rooms.delete_room("moves")


async def test_what_happens_on_the_way_is_told(cluster: Cluster, store: RedisStore) -> None:
    """While a slot is on its way, a change to a room that has moved already, or its chat, is told as a Resync."""
    for kind in ("room", "chat"):
        name = f"way-{kind}"
        key = f"{kind}:{name}"
        slot, owner = key_slot(key.encode()), cluster.owner(key)
        await store.rooms.create_room(room(name))
        await store.chat.add_message(message(1, name))
        async with store.events.subscribe(name) as events:
            begin_migration(cluster, slot, owner, other_than(owner))
            cluster.masters[other_than(owner)].ask("SCRIPT", "FLUSH")
            if kind == "room":
                await store.rooms.add_user_to_room(name, user("guest"))
            else:
                await store.chat.add_message(message(2, name))
            assert await one(events) == Resync(room_id=name)
            await store.events.publish(name, event(0, name))
            assert await one(events) == event(0, name)
            set_owner(cluster, slot, other_than(owner))
            assert await one(events) == Resync(room_id=name)
            await asyncio.to_thread(migrate, cluster, slot, other_than(owner), owner)
            assert await one(events) == Resync(room_id=name)
            await store.events.publish(name, event(1, name))
            assert await one(events) == event(1, name)
        await store.rooms.delete_room(name)


async def test_slots_move_under_load(cluster: Cluster) -> None:
    """While slots move to and fro under load, no event is missing without a Resync, and who stays misses none."""
    moving = [f"to-and-fro-{number}" for number in range(6)]
    staying = [f"staying-{number}" for number in range(6)]
    keys = [f"{kind}:{name}" for name in moving for kind in ("room", "chat")]

    async def move() -> None:
        for turn in range(4):
            for key in keys:
                owner = cluster.owner(key)
                ends = (owner, other_than(owner))
                source, target = ends if turn % 2 == 0 else ends[::-1]
                await asyncio.to_thread(migrate, cluster, key_slot(key.encode()), source, target)

    ledgers = await observed(cluster, [*moving, *staying], move, lost=moving)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        if name in staying:
            assert missing == 0
            assert "" not in ledger.heard
        else:
            assert "" in ledger.heard


@pytest.mark.parametrize("is_planned", [False, True])
async def test_another_master_is_told(*, is_planned: bool) -> None:
    """When a replica takes a master's place, its rooms' readers get a Resync and hear on; others miss nothing."""
    with redis_cluster() as cluster:
        all_names = cluster.names("dead", 0, 200)
        dying = all_names[:3]
        living = [name for name in cluster.names("live", 1, 200) if cluster.owner(f"chat:{name}") == 2][:3]

        async def replace() -> None:
            if is_planned:
                assert cluster.replicas[0].ask("CLUSTER", "FAILOVER") == b"+OK\r\n"
            else:
                await asyncio.to_thread(cluster.masters[0].kill)
            await asyncio.to_thread(wait_until, "role:master", 20, cluster.replicas[0], words=("INFO", "replication"))

        ledgers = await observed(cluster, [*dying, *living], replace, lost=dying)
        for name, ledger in ledgers.items():
            missing = ledger.check()
            assert ("" in ledger.heard) == (name in dying)
            assert name in dying or missing == 0


async def test_a_replica_is_neither_listened_to_nor_told() -> None:
    """Who takes for a master what is a replica by now is sent on: there, no event may be heard, in either direction."""
    with redis_cluster() as cluster:
        name = cluster.names("replaced", 0, 1)[0]
        async with RedisStore.from_url(cluster.url) as store, RedisStore.from_url(cluster.url) as other:
            for one_store in (store, other):
                await one_store.rooms.room_exists(name)
            old, new = cluster.masters[0], cluster.replicas[0]
            assert new.ask("CLUSTER", "FAILOVER") == b"+OK\r\n"
            for role, server in (("master", new), ("slave", old)):
                await asyncio.to_thread(wait_until, f"role:{role}", 20, server, words=("INFO", "replication"))
            async with store.events.subscribe(name) as events:
                await other.events.publish(name, event(1, name))
                assert await one(events) == event(1, name)
                for server, readers in ((old, 0), (new, 1)):
                    told = server.ask("PUBSUB", "SHARDNUMSUB", f"events:{{room:{name}}}")
                    assert told.endswith(f":{readers}\r\n".encode())
            assert b"cmdstat_spublish" not in old.ask("INFO", "commandstats")


async def test_a_silent_master_is_found_out(cluster: Cluster) -> None:
    """A master that hangs does not look like silence: its rooms' readers get a Resync when it is back."""
    name = cluster.names("silent", 0, 1)[0]
    settings = StoreSettings(operation_timeout=timedelta(seconds=1))
    async with RedisStore.from_url(cluster.url, settings) as store:
        async with store.events.subscribe(name) as events:
            inside: Any = store._events._channels
            cluster.masters[0].pause()

            async def is_lost() -> bool:
                return bool(inside._missing)

            await until(is_lost)
            cluster.masters[0].resume()
            assert await one(events) == Resync(room_id=name)
            await asyncio.to_thread(wait_until, "cluster_state:ok", 10, *cluster.masters, words=("CLUSTER", "INFO"))


async def test_a_silent_master_is_left() -> None:
    """When the replica of a master that hangs takes its place, readers hear on there, also where nobody else asks."""
    settings = StoreSettings(operation_timeout=timedelta(seconds=1))
    with redis_cluster() as cluster:
        name = cluster.names("left", 0, 1)[0]
        async with RedisStore.from_url(cluster.url, settings) as store, RedisStore.from_url(cluster.url) as other:
            async with store.events.subscribe(name) as events:
                cluster.masters[0].pause()
                assert await one(events) == Resync(room_id=name)
                await other.events.publish(name, event(1, name))
                while isinstance(found := await one(events), Resync):
                    pass
                assert found == event(1, name)


class Wire:
    """A connection to a master that says what the test says, and the route to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[bytes] = []
        self.told: list[str] = []
        self.lost: list[Sequence[bytes]] = []
        self.refusals: list[BaseException | None] = []
        self.says: Callable[[Sequence[Any]], None] = self.told.extend
        monkeypatch.setattr(subscriber, "open_link", self._open)
        self.sharded = ShardedSubscriber(cast("Any", self), 5, self, self.lost.append, lambda channel: channel)

    async def _open(self, _pool: object, on_replies: Any, _on_lost: object, *, pushes: bool) -> Wire:
        assert pushes
        self.says = on_replies
        return self

    async def subscribe(self) -> None:
        """Subscribe to a channel, which the master confirms."""
        self.written.clear()
        subscribing = asyncio.ensure_future(self.sharded.subscribe([b"{A}"]))

        async def is_asked() -> bool:
            return len(self.written) >= 2

        await until(is_asked)
        self.says([[b"ssubscribe", b"{A}", 1], b"PONG"])
        await subscribing

    def write(self, packed: Sequence[bytes]) -> None:
        """Take a command."""
        self.written.extend(packed)

    async def aclose(self) -> None:
        """Do nothing."""

    def heard(self, channel: bytes, data: bytes) -> None:
        """Write it down."""
        self.told.append(f"{channel.decode()} {data.decode()}")

    def ponged(self) -> None:
        """Write it down."""
        self.told.append("pong")

    async def master_of(self, _channel: bytes, _deadline: float) -> tuple[str, int]:
        """Return it."""
        return "nowhere", 1

    async def check_master(self, _key: bytes, _address: object, _deadline: float) -> None:
        """Be it, unless the test says otherwise of one look after the other."""
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal

    def learn_from(self, _failure: Exception, _key: bytes, _address: object) -> bool:
        """Learn nothing, so that there is no other attempt."""
        return False

    def doubt(self) -> None:
        """Do nothing."""

    def connections(self, _address: object) -> None:
        """Return nothing: the connection is this one."""


async def test_what_comes_with_the_end_of_a_slot_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a master sends in one packet with the news that a slot has moved is taken, before its connection goes."""
    wire = Wire(monkeypatch)
    await wire.subscribe()
    wire.sharded.ask()
    wire.says([[b"smessage", b"{A}", b"1"], [b"sunsubscribe", b"{A}", 0], b"PONG"])
    assert wire.told == ["pong", "{A} 1", "pong"]
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


MOVED, DOWN = ResponseError("MOVED 1 nowhere:2"), ResponseError("CLUSTERDOWN The cluster is down")


@pytest.mark.parametrize(
    ("is_first", "error", "is_given_up"),
    [(False, MOVED, True), (False, DOWN, False), (True, MOVED, True), (True, DOWN, True)],
)
async def test_a_subscription_that_may_be_at_a_replica(
    monkeypatch: pytest.MonkeyPatch, *, is_first: bool, error: Exception, is_given_up: bool
) -> None:
    """It is undone, and lost for whoever relies on it; but one that stood before only by the word of the server."""
    wire = Wire(monkeypatch)
    if not is_first:
        await wire.subscribe()
    wire.refusals = [None, error]
    with pytest.raises(ResponseError):
        await wire.subscribe()
    undone = [pack_command((b"SUNSUBSCRIBE", b"{A}")), pack_command((b"PING",))]
    assert (wire.written[-2:] == undone) is is_given_up
    assert wire.lost == [(b"{A}",)] * is_given_up
    wire.says([[b"sunsubscribe", b"{A}", 0], *[b"PONG"] * is_given_up])
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()


async def test_who_gives_up_before_it_is_sure_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who is cancelled between the subscription and the last look at the master undoes it."""
    wire = Wire(monkeypatch)
    wire.refusals = [None, asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await wire.subscribe()
    assert wire.written[-2:] == [pack_command((b"SUNSUBSCRIBE", b"{A}")), pack_command((b"PING",))]
    await wire.sharded.aclose()


async def test_nothing_is_asked_of_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server is known beforehand to be no master, nothing is subscribed to there, so nothing is heard twice."""
    wire = Wire(monkeypatch)
    wire.refusals = [MOVED]
    with pytest.raises(ResponseError, match="MOVED"):
        await wire.sharded.subscribe([b"{A}"])
    assert wire.written == []
    await wire.sharded.aclose()


async def test_a_subscription_behind_one_that_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a slot has just arrived, so that of two subscriptions the second is taken, its end is told all the same."""
    wire = Wire(monkeypatch)
    calls = [asyncio.ensure_future(wire.sharded.subscribe([b"{A}"])) for _ in range(2)]
    await until(lambda: len(wire.written) == 4)
    wire.says([MOVED, b"PONG", [b"ssubscribe", b"{A}", 1], b"PONG"])
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, ResponseError)
    assert second is None
    wire.says([[b"sunsubscribe", b"{A}", 0]])
    assert wire.lost == [(b"{A}",)]
    await wire.sharded.aclose()
