"""Events on a cluster: each room's on the masters that keep it and its chat, wherever their slots move."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar, cast

import pytest
from redis.crc import key_slot

from acl import PAGE, PLAIN
from redis_cluster import Cluster, begin_migration, migrate, node, redis_cluster, set_owner
from redis_process import wait_until
from wnc_store import (
    AppEvent,
    ConfigurationError,
    MessageAdded,
    Resync,
    RoomChanged,
    RoomEvent,
    StoreClosedError,
    StoreError,
    StoreSettings,
    UserJoined,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis import _subscriber as subscriber
from wnc_store_redis._sharded_subscriber import ShardedSubscriber

SECONDS = 20
PUBLISHING = StoreSettings(publish_changes=True)
NAME = "cluster-events"
LAST = "last"


@pytest.fixture(scope="module", name="cluster")
def _cluster() -> Iterator[Cluster]:
    """Three masters without replicas, for what leaves them as they were."""
    with redis_cluster(replicas=0) as made:
        yield made


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[RedisStore]:
    """A store that publishes its changes, and whose connections have a name."""
    async with RedisStore.from_url(f"{cluster.url}?client_name={NAME}", PUBLISHING) as made:
        yield made


def event(number: int, room_id: str) -> AppEvent:
    """Return event number so-and-so."""
    return AppEvent(room_id=room_id, name="number", value=number)


async def one(events: AsyncIterator[RoomEvent]) -> RoomEvent:
    """Return the next event."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


async def until(holds: Callable[[], Coroutine[None, None, bool]]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(SECONDS):
        while not await holds():  # noqa: ASYNC110 - servers
            await asyncio.sleep(0.01)


def home(name: str) -> tuple[str, str]:
    """Return the documented channels of a room and of its chat."""
    return f"events:{{room:{name}}}", f"events:{{chat:{name}}}"


def listened(cluster: Cluster) -> list[set[str]]:
    """Return the channels that each master has subscribers of."""
    found: list[set[str]] = []
    for master in cluster.masters:
        with node(master) as client:
            found.append({one.decode() for one in client.execute_command("PUBSUB", "SHARDCHANNELS")})
    return found


def connections(cluster: Cluster) -> list[int]:
    """Return how many connections of `store` each master has that subscribe to channels."""
    found: list[int] = []
    for master in cluster.masters:
        with node(master) as client:
            found.append([one["name"] for one in client.client_list(_type="pubsub")].count(NAME))
    return found


def calls(cluster: Cluster, command: str) -> list[int]:
    """Return how often each master ran a command."""
    found: list[int] = []
    for master in cluster.masters:
        with node(master) as client:
            found.append(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])
    return found


def other_than(master: int) -> int:
    """Return another master."""
    return (master + 1) % 3


async def test_events_stay_on_their_shard(cluster: Cluster, store: RedisStore) -> None:
    """Events are published by SPUBLISH where the room or its chat is, and nothing is handed on to other masters."""
    names = [cluster.names("shard", number, 1)[0] for number in range(3)]
    for master in cluster.masters:
        master.ask("CONFIG", "RESETSTAT")
    for name in names:
        async with store.events.subscribe(name) as events:
            await store.rooms.create_room(room(name))
            await store.rooms.add_user_to_room(name, user("guest"))
            await store.events.publish(name, event(1, name))
            assert [await one(events) for _ in range(3)] == [
                RoomChanged(room_id=name),
                UserJoined(room_id=name, rev=2, user=user("guest")),
                event(1, name),
            ]
            await store.chat.add_message(message(1, name))
            assert await one(events) == MessageAdded(room_id=name, message=message(1, name))
            await store.chat.clear_messages(name)
            assert await one(events) == Resync(room_id=name)
            await store.rooms.delete_room(name)
            assert (await one(events)).room_id == name
    chats = [sum(cluster.owner(f"chat:{name}") == number for name in names) for number in range(3)]
    assert calls(cluster, "spublish") == [4 + 2 * chat for chat in chats]
    assert calls(cluster, "publish") == [0, 0, 0]
    for master in cluster.masters:
        assert b"messages_publish" not in master.ask("CLUSTER", "INFO")


async def test_a_connection_to_each_master_that_is_needed(cluster: Cluster, store: RedisStore) -> None:
    """Any number of rooms is listened to over one connection to each master that has any of them or of their chats."""
    found = (name for name in cluster.names("near", 0, 1000) if not cluster.owner(f"chat:{name}"))
    first, second = next(found), next(found)
    elsewhere = next(name for name in cluster.names("far", 1, 1000) if cluster.owner(f"chat:{name}") == 2)
    async with store.events.subscribe(first), store.events.subscribe(second):
        assert connections(cluster) == [1, 0, 0]
        assert listened(cluster) == [{*home(first), *home(second)}, set(), set()]
        async with store.events.subscribe(elsewhere):
            assert connections(cluster) == [1, 1, 1]
            assert listened(cluster)[1:] == [{home(elsewhere)[0]}, {home(elsewhere)[1]}]

        async def is_left() -> bool:
            return listened(cluster) == [{*home(first), *home(second)}, set(), set()]

        await until(is_left)


async def test_channels_have_the_documented_names(cluster: Cluster) -> None:
    """Behind a prefix a channel is `{prefix}events:` and, in braces, the key of the room or of its chat."""
    settings = StoreSettings(key_prefix="app:")
    told = '{"type":"roomChanged","roomId":"A","rev":3}'
    async with RedisStore.from_url(cluster.url, settings) as store, store.events.subscribe("A") as events:
        for kind in ("room", "chat"):
            master = cluster.masters[cluster.owner(f"app:{kind}:A")]
            assert master.ask("SPUBLISH", f"app:events:{{app:{kind}:A}}", told) == b":1\r\n"
            assert await one(events) == RoomChanged(room_id="A", rev=3)


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
        slot = key_slot(b"room:moves")
        for number, ends in enumerate([(owner, target), (target, owner)]):
            await asyncio.to_thread(migrate, cluster, slot, *ends)
            assert await one(moved) == Resync(room_id="moves")
            for name, events in (("moves", moved), (stays, stayed)):
                await store.events.publish(name, event(number, name))
                assert await one(events) == event(number, name)
            assert home("moves")[0] in listened(cluster)[ends[1]]
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


class Ledger:
    """What was published in a room in order, and what one reader heard, each as a word; "" for a Resync."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.published: dict[str, list[str]] = {"app": [], "user": [], "message": []}
        self.heard: list[str] = []

    def take(self, found: RoomEvent) -> None:
        """Write down what was heard."""
        match found:
            case AppEvent():
                self.heard.append(f"app{found.value}")
            case UserJoined():
                self.heard.append(f"user{found.user.id}")
            case MessageAdded():
                self.heard.append(f"message{found.message.id}")
            case _:
                assert isinstance(found, Resync), found
                self.heard.append("")

    def check(self) -> int:
        """Return how many words are missing; each has a Resync behind the last word of its kind that came before it."""
        missing = 0
        assert len(set(self.heard) - {""}) == len([word for word in self.heard if word])
        for kind, words in self.published.items():
            assert [word for word in self.heard if word.startswith(kind) and word in words] == [
                word for word in words if word in self.heard
            ]
            last = -1
            for word in words:
                if word in self.heard:
                    last = self.heard.index(word)
                else:
                    missing += 1
                    assert "" in self.heard[last + 1 :], word
        return missing


async def listen(store: RedisStore, ledger: Ledger, entered: asyncio.Event) -> None:
    """Write down all that a reader hears, until the last event, published again and again, is heard."""
    async with store.events.subscribe(ledger.name) as events:
        entered.set()
        async for found in events:
            if isinstance(found, AppEvent) and found.name == LAST:
                return
            ledger.take(found)


async def write(store: RedisStore, ledger: Ledger, stop: asyncio.Event) -> None:
    """Publish, change the room, and post, in turn; what raises may or may not have happened."""
    number = 0
    while not stop.is_set():
        number += 1
        words = {"app": f"{number}", "user": f"u{number}", "message": f"m{number}"}
        told: Sequence[tuple[str, Coroutine[Any, Any, object]]] = (
            ("app", store.events.publish(ledger.name, event(number, ledger.name))),
            ("user", store.rooms.add_user_to_room(ledger.name, user(words["user"]))),
            ("message", store.chat.add_message(message(number, ledger.name))),
        )
        for kind, call in told:
            try:
                await call
            except StoreError:
                continue
            ledger.published[kind].append(f"{kind}{words[kind]}")


async def observed(
    cluster: Cluster, names: Iterable[str], disturb: Callable[[], Coroutine[None, None, None]]
) -> dict[str, Ledger]:
    """Write to rooms and listen to them, in two stores, while something happens; return what came of it."""
    ledgers = {name: Ledger(name) for name in names}
    stop = asyncio.Event()
    async with (
        RedisStore.from_url(cluster.url, PUBLISHING) as writer,
        RedisStore.from_url(cluster.url, StoreSettings(operation_timeout=timedelta(seconds=1))) as reader,
    ):
        for name in ledgers:
            await writer.rooms.create_room(room(name))
        entered = [asyncio.Event() for _ in ledgers]
        listening = [
            asyncio.ensure_future(listen(reader, *both)) for both in zip(ledgers.values(), entered, strict=True)
        ]
        for one_entered in entered:
            await one_entered.wait()
        writing = [asyncio.ensure_future(write(writer, ledger, stop)) for ledger in ledgers.values()]
        await asyncio.sleep(0.1)
        await disturb()
        await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*writing)

        async def is_over() -> bool:
            for name in ledgers:
                await writer.events.publish(name, AppEvent(room_id=name, name=LAST))
            await asyncio.sleep(0.1)
            return all(task.done() for task in listening)

        await asyncio.sleep(0.5)
        await until(is_over)
        await asyncio.gather(*listening)
        for name in ledgers:
            await writer.rooms.delete_room(name)
    return ledgers


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

    ledgers = await observed(cluster, [*moving, *staying], move)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        assert all(len(words) > 10 for words in ledger.published.values())
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
            await asyncio.sleep(1)

        ledgers = await observed(cluster, [*dying, *living], replace)
        for name, ledger in ledgers.items():
            missing = ledger.check()
            assert ("" in ledger.heard) == (name in dying)
            assert name in dying or missing == 0


async def test_a_silent_master_is_found_out(cluster: Cluster) -> None:
    """A master that hangs does not look like silence: its rooms' readers get a Resync when it is back."""
    name = cluster.names("silent", 0, 1)[0]
    settings = StoreSettings(operation_timeout=timedelta(seconds=1))
    async with RedisStore.from_url(f"{cluster.url}?client_name={NAME}", settings) as store:
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


async def test_what_comes_with_the_end_of_a_slot_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a master sends in one packet with the news that a slot has moved is taken, before its connection goes."""
    written: list[bytes] = []
    says: list[Callable[[Sequence[Any]], None]] = []

    class Wire:
        """A connection that says what the test says."""

        def write(self, packed: Sequence[bytes]) -> None:
            """Take a command."""
            written.extend(packed)

        async def aclose(self) -> None:
            """Do nothing."""

    class Route:
        """A cluster of one master."""

        async def master_of(self, _channel: bytes, _deadline: float) -> tuple[str, int]:
            """Return it."""
            return "nowhere", 1

        def connections(self, _address: object) -> None:
            """Return nothing: the connection is made by the test."""

    class Ear:
        """What was heard."""

        told: ClassVar[list[str]] = []

        def heard(self, channel: bytes, data: bytes) -> None:
            """Write it down."""
            self.told.append(f"{channel.decode()} {data.decode()}")

        def ponged(self) -> None:
            """Write it down."""
            self.told.append("pong")

    async def open_wire(_pool: object, on_replies: Any, _on_lost: object, *, pushes: bool) -> Wire:
        assert pushes
        says.append(on_replies)
        return Wire()

    monkeypatch.setattr(subscriber, "open_link", open_wire)
    lost: list[Sequence[bytes]] = []
    sharded = ShardedSubscriber(cast("Any", Route()), 5, Ear(), lost.append)
    subscribing = asyncio.ensure_future(sharded.subscribe([b"{A}"]))

    async def is_asked() -> bool:
        return len(written) == 2

    await until(is_asked)
    says[0]([[b"ssubscribe", b"{A}", 1], b"PONG"])
    await subscribing
    sharded.ask()
    says[0]([[b"smessage", b"{A}", b"1"], [b"sunsubscribe", b"{A}", 0], b"PONG"])
    assert Ear.told == ["pong", "{A} 1", "pong"]
    assert lost == [(b"{A}",)]
    await sharded.aclose()


async def test_many_come_and_go(cluster: Cluster, store: RedisStore) -> None:
    """Readers that are cancelled at any moment leave no subscription behind, and disturb no other."""

    async def read(number: int) -> None:
        async with store.events.subscribe(f"room{number % 7}") as events:
            await one(events)

    async with store.events.subscribe("stays") as events:
        for number in range(200):
            reading = asyncio.ensure_future(read(number))
            for _ in range(number % 23):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
        await store.events.publish("stays", event(1, "stays"))
        assert await one(events) == event(1, "stays")

        async def is_left() -> bool:
            return set().union(*listened(cluster)) == set(home("stays"))

        await until(is_left)


async def test_closing_ends_a_subscription_on_its_way(cluster: Cluster) -> None:
    """Who is still subscribing when the store is closed gets a StoreClosedError, and no connection is left."""
    name = cluster.names("closing", 0, 1)[0]
    store = RedisStore.from_url(f"{cluster.url}?client_name={NAME}")
    async with store.events.subscribe(name):
        pass
    cluster.masters[0].pause()
    entering = asyncio.ensure_future(store.events.subscribe(name).__aenter__())
    await asyncio.sleep(0.05)
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await entering
    cluster.masters[0].resume()

    async def is_closed() -> bool:
        return connections(cluster) == [0, 0, 0]

    await until(is_closed)


async def test_closing_ends_the_search_for_a_master() -> None:
    """Who subscribes where no server answers gets a StoreClosedError when the store is closed."""
    settings = StoreSettings(operation_timeout=timedelta(hours=1))
    store = RedisStore.from_url("redis+cluster://127.0.0.1:1", settings)
    entering = asyncio.ensure_future(store.events.subscribe("A").__aenter__())
    await asyncio.sleep(0.05)
    assert not entering.done()
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await entering


def test_another_loop_is_refused(cluster: Cluster) -> None:
    """Subscribing on another event loop than the store's is a StoreError, and harms no reader on its own."""
    store = RedisStore.from_url(cluster.url)
    with asyncio.Runner() as runner, asyncio.Runner() as elsewhere:
        reading = store.events.subscribe("A")
        events = runner.run(reading.__aenter__())
        with pytest.raises(StoreError, match="another event loop"):
            elsewhere.run(store.events.subscribe("A").__aenter__())
        runner.run(store.events.publish("A", event(1, "A")))
        assert runner.run(one(events)) == event(1, "A")
        runner.run(reading.__aexit__(None, None, None))
        runner.run(store.aclose())


async def test_a_cluster_without_sharded_channels_is_said() -> None:
    """Where the servers have no SPUBLISH, as before Redis 7.0, events are refused, and no change is half done."""
    old = ("--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "")
    with redis_cluster(*old, masters=1, replicas=0) as cluster:
        async with RedisStore.from_url(cluster.url) as quiet, RedisStore.from_url(cluster.url, PUBLISHING) as loud:
            await quiet.rooms.create_room(room("A"))
            await quiet.chat.add_message(message(1, "A"))
            before = await quiet.rooms.get_room("A"), await quiet.chat.get_messages("A")
            refused: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (
                lambda: loud.rooms.create_room(room("B")),
                lambda: loud.rooms.add_user_to_room("A", user("guest")),
                lambda: loud.rooms.delete_room("A"),
                lambda: loud.rooms.remove_user_from_room("A", "host"),
                lambda: loud.chat.add_message(message(2, "A")),
                lambda: loud.chat.clear_messages("A"),
                lambda: loud.events.publish("A", event(1, "A")),
                lambda: loud.events.subscribe("A").__aenter__(),
            )
            for call in refused:
                with pytest.raises(ConfigurationError, match=r"Redis 7\.0"):
                    await call()
            assert (await quiet.rooms.get_room("A"), await quiet.chat.get_messages("A")) == before
            assert await quiet.rooms.get_room("B") is None


WORDS = "".join(re.findall(r"On a cluster it\s+needs\s+`([^`]+)`", PAGE.read_text())).split()
"""What the page on permissions asks for on a cluster, besides the line."""


@pytest.mark.parametrize("without", ["", "+spublish", "+ssubscribe", "+sunsubscribe"])
async def test_the_documented_user_may_use_them(cluster: Cluster, without: str) -> None:
    """With the documented words for a cluster events work; without one of them they are refused with NOPERM."""
    granted = [word for word in WORDS if word != without]
    assert not without or len(granted) == len(WORDS) - 1
    for master in cluster.masters:
        assert master.ask("ACL", "SETUSER", *PLAIN, *granted) == b"+OK\r\n"
    password = next(word[1:] for word in PLAIN if word.startswith(">"))
    url = cluster.url.replace("://", f"://{PLAIN[0]}:{password}@")
    errors: list[StoreError] = []
    async with RedisStore.from_url(url, PUBLISHING) as store:

        async def hear() -> None:
            async with store.events.subscribe("A") as events:
                await store.events.publish("A", event(1, "A"))
                assert await one(events) == event(1, "A")

        for call in (hear, hear, lambda: store.rooms.create_room(room("A")), lambda: store.rooms.delete_room("A")):
            try:
                await call()
            except StoreError as error:
                errors.append(error)
    if without:
        assert errors
        assert all(isinstance(error, ConfigurationError) and "NOPERM" in str(error) for error in errors)
    else:
        assert errors == []
    if without == "+spublish":
        with node(cluster.masters[cluster.owner("room:A")]) as client:
            assert not client.exists("room:A")
    for master in cluster.masters:
        master.ask("ACL", "DELUSER", PLAIN[0])
