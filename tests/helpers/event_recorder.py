"""Recorders of the events that readers receive under load, to find gaps without a `Resync`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any

import pytest

from redis_cluster import Cluster, migrate, slot_of
from waiting import SECONDS, wait_until
from wnc_store import (
    AppEvent,
    ConflictError,
    MessageAdded,
    Resync,
    RoomEvent,
    StoreError,
    StoreSettings,
    StoreUnavailableError,
    UserJoined,
)
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore

PUBLISHING = StoreSettings(publish_changes=True)
EXTERNAL = StoreSettings(publish_changes=True, notify_external_changes=True)
LAST = "last"
_WRITES = 10


def event(number: int, room_id: str = "A") -> AppEvent:
    """Return an app event with a number."""
    return AppEvent(room_id=room_id, name="number", value=number)


async def one(events: AsyncIterator[RoomEvent]) -> RoomEvent:
    """Return the next event."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


async def drain(store: RedisStore, name: str, events: AsyncIterator[RoomEvent]) -> Sequence[RoomEvent]:
    """Publish a last event, and return all events that arrive before it."""
    last = AppEvent(room_id=name, name="last")
    await store.events.publish(name, last)
    received: list[RoomEvent] = []
    while (found := await one(events)) != last:
        received.append(found)
    return received


async def come_and_go(store: RedisStore, most_steps: int) -> None:
    """Start 200 readers of seven rooms, and cancel each after fewer than `most_steps` steps of the event loop."""

    async def read(number: int) -> None:
        async with store.events.subscribe(f"room{number % 7}") as events:
            await one(events)

    for number in range(200):
        reading = asyncio.ensure_future(read(number))
        for _ in range(number % most_steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])


def check_another_loop(store: RedisStore) -> None:
    """Check that a subscription in another event loop is rejected, and that a subscriber in the first still reads."""
    with asyncio.Runner() as runner, asyncio.Runner() as elsewhere:
        subscription = store.events.subscribe("A")
        events = runner.run(subscription.__aenter__())
        with pytest.raises(StoreError, match="another event loop"):
            elsewhere.run(store.events.subscribe("A").__aenter__())
        runner.run(store.events.publish("A", event(1)))
        assert runner.run(one(events)) == event(1)
        runner.run(subscription.__aexit__(None, None, None))
        runner.run(store.aclose())


class Ledger:
    """The published and the received events of one reader of a room, each as a word. A Resync is "".

    Attributes:
        is_over: whether the reader has received the event that was published last.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.published: dict[str, list[str]] = {"app": [], "user": [], "message": []}
        self.on_message: list[str] = []
        self.is_over = False

    def take(self, found: RoomEvent) -> None:
        """Record a received event."""
        match found:
            case AppEvent(name=name) if name == LAST:
                self.is_over = True
            case AppEvent():
                self.on_message.append(f"app{found.value}")
            case UserJoined():
                self.on_message.append(f"user{found.user.id}")
            case MessageAdded():
                self.on_message.append(f"message{found.message.id}")
            case _:
                assert isinstance(found, Resync), found
                self.on_message.append("")

    def check(self) -> int:
        """Check that each gap is followed by a Resync, and return the number of missing words."""
        words = [word for word in self.on_message if word]
        on_message = set(words)
        assert len(on_message) == len(words)
        for published in self.published.values():
            kind = set(published)
            assert [word for word in words if word in kind] == [word for word in published if word in on_message]
        missing, unexplained = self._missing()
        assert not unexplained
        return missing

    def is_settled(self) -> bool:
        """Return whether the last event was received, and every other event or a Resync for it."""
        return self.is_over and not self._missing()[1]

    def _missing(self) -> tuple[int, Sequence[str]]:
        """Return the number of missing words, and the missing words without a Resync."""
        place = {word: number for number, word in enumerate(self.on_message)}
        last_resync = place.get("", -1)
        missing, unexplained = 0, list[str]()
        for published in self.published.values():
            last = -1
            for word in published:
                last = place.get(word, last)
                if word not in place:
                    missing += 1
                    if last_resync <= last:
                        unexplained.append(word)
        return missing, unexplained


async def listen(store: RedisStore, ledger: Ledger, entered: asyncio.Event) -> None:
    """Record all events that a reader receives."""
    async with store.events.subscribe(ledger.name) as events:
        entered.set()
        async for found in events:
            ledger.take(found)


async def write(store: RedisStore, ledger: Ledger, stop: asyncio.Event) -> None:
    """Publish, change the room and add messages in turn. A write that raises may have happened."""
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
            except (StoreUnavailableError, ConflictError):
                continue
            ledger.published[kind].append(f"{kind}{words[kind]}")


async def observed(
    cluster: Cluster,
    names: Iterable[str],
    disturb: Callable[[], Coroutine[None, None, None]],
    lost: Collection[str],
    reading: StoreSettings,
) -> dict[str, Ledger]:
    """Write to rooms and read their events in two stores during a disturbance, and check the ledgers.

    Args:
        cluster: the cluster.
        names: ids of the rooms.
        disturb: the disturbance, which runs between some of the writes.
        lost: the rooms whose readers must receive a Resync.
        reading: the settings of the store that reads the events.
    """
    ledgers = {name: Ledger(name) for name in names}
    stop = asyncio.Event()
    async with (
        RedisStore.from_url(cluster.url, PUBLISHING) as writer,
        RedisStore.from_url(cluster.url, reading) as reader,
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
        await _more_writes(ledgers.values())
        await disturb()
        await _more_writes(ledgers.values())
        await wait_until(lambda: all("" in ledgers[name].on_message for name in lost))
        stop.set()
        await asyncio.gather(*writing)

        async def is_settled() -> bool:
            for name in ledgers:
                await writer.events.publish(name, AppEvent(room_id=name, name=LAST))
            return all(ledger.is_settled() for ledger in ledgers.values())

        await wait_until(is_settled)
        for one_listening in listening:
            one_listening.cancel()
        ended = await asyncio.gather(*listening, return_exceptions=True)
        assert {type(error) for error in ended} == {asyncio.CancelledError}
        for name in ledgers:
            await writer.rooms.delete_room(name)
    return ledgers


async def _more_writes(ledgers: Iterable[Ledger]) -> None:
    """Wait until each kind of write has succeeded several more times in each room."""
    wanted = [(words, len(words) + _WRITES) for ledger in ledgers for words in ledger.published.values()]
    await wait_until(lambda: all(len(words) >= count for words, count in wanted))


def other_than(master: int) -> int:
    """Return the number of another master."""
    return (master + 1) % 3


async def check_moving_rooms(cluster: Cluster, turns: int, reading: StoreSettings = PUBLISHING) -> None:
    """Migrate slots under load, and check that each gap has a Resync and other readers miss nothing."""
    moving = [f"to-and-fro-{number}" for number in range(6)]
    staying = [f"staying-{number}" for number in range(6)]

    async def move() -> None:
        for turn in range(2 * turns):
            for name in moving:
                owner = cluster.home(name)
                ends = (owner, other_than(owner))
                source, target = ends if turn % 2 == 0 else ends[::-1]
                await asyncio.to_thread(migrate, cluster, slot_of(name), source, target)

    ledgers = await observed(cluster, [*moving, *staying], move, lost=moving, reading=reading)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        assert ("" in ledger.on_message) == (name in moving)
        assert name in moving or missing == 0


async def check_another_master(
    cluster: Cluster, replace: Callable[[], Coroutine[None, None, None]], reading: StoreSettings = PUBLISHING
) -> None:
    """Replace master 0, and check that the readers of its rooms get a Resync and other readers miss nothing."""
    dying = cluster.names("dead", 0, 3)
    living = cluster.names("live", 1, 3)
    ledgers = await observed(cluster, [*dying, *living], replace, lost=dying, reading=reading)
    for name, ledger in ledgers.items():
        missing = ledger.check()
        assert ("" in ledger.on_message) == (name in dying)
        assert name in dying or missing == 0
