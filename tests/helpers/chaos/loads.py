"""Loads on one or more stores with the same data, the first of which suffers from faults, and the checks of them."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from chaos.callers import Caller, restore_problems
from chaos.checker import check
from chaos.ledger import Ledger
from chaos.outcomes import outcome_of
from chaos.targets import Target
from waiting import wait_until
from wnc_store import AppEvent, MessageAdded, Resync, RoomEvent, Store, StoreUnavailableError, UserJoined
from wnc_store_contract.faults.history import Operation

_DEAD = 1200
"""Number of index entries that each sweep finds. They need several steps, because a page has about 500."""


class Calls:
    """Calls to keys of given types.

    Args:
        stores: the stores.
        target: their server.
        seed: chooses the calls.
        impatient: the share of calls that are cancelled.
        keys: the keys of each type, as in `Caller.kinds`.
    """

    def __init__(
        self, stores: Sequence[Store], target: Target, seed: int, impatient: float, keys: Mapping[str, Sequence[str]]
    ) -> None:
        self._stores = stores
        self._target = target
        self._keys = keys
        self._worker = Caller(stores, "w", seed, keys)
        self._worker.impatient = impatient

    @property
    def history(self) -> Sequence[Operation]:
        """All calls that have ended."""
        return self._worker.history

    async def run(self) -> None:
        """Make calls until `stop`."""
        await self._worker.work(math.inf)

    def stop(self) -> None:
        """Stop each caller after its current call."""
        self._worker.stop()

    def problems(self, ledger: Ledger) -> Iterable[str]:
        """Return the violations."""
        return check(self.history, ledger).problems + self._worker.errors


class Restores(Calls):
    """Rooms that are restored again and again, while users join."""

    def problems(self, ledger: Ledger) -> Iterable[str]:
        """Return the violations."""
        for key in self._keys["restores"]:
            yield from restore_problems([one for one in self.history if one.key == key], ledger, key)
        yield from self._worker.errors


class Sweeps(Calls):
    """Sweeps of expired rooms by all stores at the same time, beside calls to live rooms."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._found: list[str] = []
        self._doubted: set[str] = set()
        self._stopped = False

    async def run(self) -> None:
        """Make calls and sweep until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(super().run())
            number = 0
            while not self._stopped:
                number += 1
                entries = await self._entries()
                new = [f"dead-{number}-{i}" for i in range(_DEAD - len(entries))]
                if new:
                    await self._target.list_rooms(new)
                await self._sweep()

    def stop(self) -> None:
        """Stop after the current calls and sweeps."""
        super().stop()
        self._stopped = True

    async def _sweep(self) -> None:
        """Sweep once, and compare the outcomes with the entries of the index before and after."""
        before = await self._entries()
        outcomes = await asyncio.gather(*(outcome_of(store.rooms.sweep_active_rooms()) for store in self._stores))
        after = await self._entries()
        kinds = {outcome.kind for outcome in outcomes}
        claimed = sum(outcome.value for outcome in outcomes if outcome.kind == "done")
        removed = before - after
        least = 0 if "unknown" in kinds else len(removed - self._doubted)  # an earlier sweep may remove doubted entries
        if not least <= claimed <= len(removed):
            self._found.append(f"sweeps that ended with {kinds} reported {claimed} entries, and removed {len(removed)}")
        if "done" in kinds and after:
            self._found.append(f"a sweep left {len(after)} entries of expired rooms")
        self._found += [f"a sweep raised {outcome.error!r}" for outcome in outcomes if outcome.kind == "wrong"]
        self._doubted = after if "unknown" in kinds else self._doubted & after

    async def _entries(self) -> set[str]:
        """Return the index entries of expired rooms, and check that the live ones have an entry."""
        found, live = await self._target.find_rooms(self._keys["rooms"])
        self._found += [f"the live room {room} is not in the index" for room in live - found]
        return found - set(self._keys["rooms"])

    def problems(self, ledger: Ledger) -> Iterable[str]:
        """Return the violations."""
        return [*super().problems(ledger), *self._found]


class Events(Calls):
    """Calls to one room, a subscriber of the first store, and a subscriber without faults, which sees all events."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._received: list[RoomEvent] = []
        self._published: list[RoomEvent] = []
        (self._room,) = self._keys["rooms"]

    async def run(self) -> None:
        """Make calls and receive events until `stop`. Then receive the events that are still on their way."""
        async with (
            self._target.observe(self._room) as observed,
            AsyncExitStack() as stack,
            asyncio.TaskGroup() as tasks,
        ):
            reading = [
                tasks.create_task(_collect(await self._subscribe(stack), self._received)),
                tasks.create_task(_collect(observed, self._published)),
            ]
            await super().run()
            last = AppEvent(room_id=self._room, name="last")

            async def is_over() -> bool:
                with suppress(StoreUnavailableError):  # a busy machine
                    await self._stores[-1].events.publish(self._room, last)
                return last in self._received and last in self._published

            await wait_until(is_over)
            for task in reading:
                task.cancel()

    async def _subscribe(self, stack: AsyncExitStack) -> AsyncIterator[RoomEvent]:
        while True:
            with suppress(StoreUnavailableError):  # a busy machine
                return await stack.enter_async_context(self._stores[0].events.subscribe(self._room))

    def problems(self, ledger: Ledger) -> Iterable[str]:
        """Return the violations."""
        yield from super().problems(ledger)
        published = [event for event in self._published if not isinstance(event, Resync)]
        yield from _gaps(published, self._received)
        times = Counter(map(_content, published))
        added = Counter(("say", entry["id"]) for entry in ledger.chats.get(self._room, []) if entry)
        for (_, message), count in added.items():
            if count != times["say", message]:
                yield f"message {message} was published {times['say', message]} times, and added {count} times"
        for one in self.history:
            if one.kind in {"join", "publish"}:
                count = times[one.kind, str(one.value)]
                if not (one.answer == "ok") <= count <= (one.answer in {"ok", "unknown"}):
                    yield f"{one.kind} of {one.value} ended with {one.answer}, and was published {count} times"


async def _collect(events: AsyncIterator[RoomEvent], found: list[RoomEvent]) -> None:
    async for event in events:
        found.append(event)  # noqa: PERF401 - others read the list meanwhile


def _content(event: RoomEvent) -> tuple[str, str]:
    """Return the kind and the value of the call that published an event."""
    match event:
        case MessageAdded():
            return "say", event.message.id
        case UserJoined():
            return "join", event.user.id
        case AppEvent():
            return "publish", str(event.value)
        case _:
            return "other", ""


def _gaps(published: Sequence[RoomEvent], received: Sequence[RoomEvent]) -> Iterator[str]:
    """Yield a problem if the events between two Resyncs are not consecutive published events."""
    runs: list[list[RoomEvent]] = [[]]
    for event in received:
        if isinstance(event, Resync):
            runs.append([])
        else:
            runs[-1].append(event)
    position = 0
    for number, run in enumerate(runs):
        starts = range(position, len(published) - len(run) + 1) if number else (0,)
        start = next((start for start in starts if published[start : start + len(run)] == run), None)
        if start is None:
            yield f"a subscriber missed events without a Resync, or received others: {[*map(_content, run)]}"
            return
        position = start + len(run)
