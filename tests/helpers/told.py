"""What readers were told of rooms under load: for tests of what may be missing, and how that is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import Any

from redis_cluster import Cluster
from waiting import SECONDS, until
from wnc_store import (
    AppEvent,
    MessageAdded,
    Resync,
    RoomEvent,
    StoreError,
    StoreSettings,
    UserJoined,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore

PUBLISHING = StoreSettings(publish_changes=True)
LAST = "last"


def event(number: int, room_id: str = "A") -> AppEvent:
    """Return event number so-and-so."""
    return AppEvent(room_id=room_id, name="number", value=number)


async def one(events: AsyncIterator[RoomEvent]) -> RoomEvent:
    """Return the next event."""
    async with asyncio.timeout(SECONDS):
        return await anext(events)


async def come_and_go(store: RedisStore, most_steps: int) -> None:
    """Begin 200 readers of seven rooms, and cancel each after fewer steps of the event loop than that."""

    async def read(number: int) -> None:
        async with store.events.subscribe(f"room{number % 7}") as events:
            await one(events)

    for number in range(200):
        reading = asyncio.ensure_future(read(number))
        for _ in range(number % most_steps):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])


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
