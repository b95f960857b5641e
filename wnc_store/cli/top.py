"""`wnc-store top`: what goes on in a store, now and again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from wnc_store import (
    ChatMessage,
    CorruptRecordError,
    Room,
    ServerActivity,
    ServerOperation,
    Store,
    StoreSettings,
    StoreUnavailableError,
    SupportsServerActivity,
)
from wnc_store.cli.output import add_row, out, pluralize, sanitize, table
from wnc_store.cli.runtime import AsJson, UrlArgument, open_cli_store, run
from wnc_store.records.js_types import iso

_WINDOW_MS = 60_000
"""Messages are counted over so long."""

_AT_ONCE = 25
"""So many rooms are read at the same time."""

_ROOMS, _OPERATIONS, _SLOW = 15, 8, 5
"""How many of them are shown."""


@dataclass(frozen=True, slots=True)
class _Seen:
    room: Room
    messages_per_second: float


@dataclass(frozen=True, slots=True)
class TopSample:
    """What was seen at one time.

    Attributes:
        sampled: how many rooms were looked at.
        rooms: how many there are; None if there are more than were looked at, and the server does not say.
        users: in all rooms; a projection if not all were looked at.
        messages_per_second: likewise.
        unreadable: how many of the rooms that were looked at can't be read.
        busiest: the rooms with the most messages, then those with the most users.
        activity: what the server says; the operations since the last look, or since it began to count.
        seconds: since the last look; None at the first.
    """

    sampled: int
    rooms: int | None
    users: int
    messages_per_second: float
    unreadable: int
    busiest: Sequence[_Seen]
    activity: ServerActivity | None
    seconds: float | None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def whole(self) -> bool:
        """Whether all rooms were looked at."""
        return self.sampled == self.rooms

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        value: dict[str, Any] = {
            "at": iso(self.at),
            "rooms": self.rooms,
            "sampled": self.sampled,
            "projected": not self.whole,
            "users": self.users,
            "messagesPerSecond": round(self.messages_per_second, 3),
            "unreadable": self.unreadable,
            "busiest": [
                {
                    "id": seen.room.id,
                    "users": len(seen.room.users),
                    "messagesPerSecond": round(seen.messages_per_second, 3),
                }
                for seen in self.busiest
            ],
        }
        if self.activity is not None:
            value["operations"] = [
                {"name": one.name, "calls": one.calls, "meanMs": round(_mean_ms(one), 3)}
                for one in _slowest(self.activity.operations)
            ]
            value["seconds"] = self.seconds
            value["slow"] = [
                {"name": one.name, "ms": round(one.seconds * 1000, 3), "at": iso(one.at)} for one in self.activity.slow
            ]
            value["unavailable"] = list(self.activity.unavailable)
        return value


class Sampler:
    """Looks at a store, again and again.

    Args:
        store: to look at.
        sample: how many rooms are read at each look, at most.
    """

    def __init__(self, store: Store, sample: int) -> None:
        self._store = store
        self._sample = sample
        self._kept = StoreSettings.from_environment().chat_history_limit
        self._before: tuple[float, ServerActivity] | None = None

    async def sample(self) -> TopSample:
        """Look at up to `sample` rooms, and ask the server where it can be asked."""
        room_ids, more = await self._some_room_ids()
        seen: list[_Seen] = []
        unreadable = 0
        left = iter(room_ids)
        while chunk := tuple(islice(left, _AT_ONCE)):
            for found in await asyncio.gather(*map(self._see, chunk)):
                if isinstance(found, _Seen):
                    seen.append(found)
                elif found is not None:
                    unreadable += 1
        activity, seconds = await self._ask()
        total = len(room_ids) if not more else activity.listed_rooms if activity is not None else None
        share = (total or len(room_ids)) / max(1, len(room_ids))
        busiest = sorted(seen, key=lambda one: (one.messages_per_second, len(one.room.users)), reverse=True)
        return TopSample(
            sampled=len(room_ids),
            rooms=total,
            users=round(share * sum(len(one.room.users) for one in seen)),
            messages_per_second=share * sum(one.messages_per_second for one in seen),
            unreadable=unreadable,
            busiest=busiest[:_ROOMS],
            activity=activity,
            seconds=seconds,
        )

    async def _some_room_ids(self) -> tuple[list[str], bool]:
        """Return as many ids as are looked at, and whether there are more."""
        found: list[str] = []
        async for room_id in self._store.rooms.active_room_ids():
            if len(found) == self._sample:
                return found, True
            found.append(room_id)
        return found, False

    async def _see(self, room_id: str) -> _Seen | CorruptRecordError | None:
        try:
            room = await self._store.rooms.get_room(room_id)
            messages = await self._store.chat.get_messages(room_id)
        except CorruptRecordError as error:
            return error
        return room and _Seen(room, _rate(messages, time.time() * 1000, self._kept))

    async def _ask(self) -> tuple[ServerActivity | None, float | None]:
        """Return what the server says of the time since the last look, and how long that is."""
        if not isinstance(self._store, SupportsServerActivity):
            return None, None
        now, activity = time.monotonic(), await self._store.activity()
        before, self._before = self._before, (now, activity)
        if before is None:
            return activity, None
        known = {one.name: one for one in before[1].operations}
        since = (_since(known.get(one.name), one) for one in activity.operations)
        operations = tuple(one for one in since if one.calls)
        return ServerActivity(activity.listed_rooms, operations, activity.slow, activity.unavailable), now - before[0]


def top(
    url: UrlArgument = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 2.0,
    sample: Annotated[int, typer.Option(min=1, help="How many rooms are read at each look, at most.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Show rooms, users, messages a second and the slowest operations, until Ctrl-C.

    With --json, one line for each look. Of more rooms than --sample, the totals are projected from those, and say so.
    Messages a second are of the last minute, or of the time since the oldest message that is kept, by the messages' own
    times. The operations are those of the whole server, whoever asked for them, where it tells.
    """

    async def work() -> None:
        async with open_cli_store(url) as store:
            glances = _samples(Sampler(store, sample), None if once else interval)
            if as_json:
                async for glance in glances:
                    value = glance.to_json() if isinstance(glance, TopSample) else {"error": str(glance)}
                    print(json.dumps(value), flush=True)  # noqa: T201 - rich would wrap the lines
            elif once or not out.is_terminal:
                async for glance in glances:
                    out.print(_render(type(store).__name__, glance))
            else:
                with Live(console=out, auto_refresh=False, screen=True) as live:
                    async for glance in glances:
                        live.update(_render(type(store).__name__, glance), refresh=True)

    with suppress(KeyboardInterrupt):
        run(work())


async def _samples(watcher: Sampler, interval: float | None) -> AsyncIterator[TopSample | StoreUnavailableError]:
    """Yield what is seen, once or for ever; who has seen something is not put off by a server that goes away."""
    yield await watcher.sample()
    while interval is not None:
        await asyncio.sleep(interval)
        try:
            yield await watcher.sample()
        except StoreUnavailableError as error:
            yield error


def _rate(messages: Sequence[ChatMessage], now_ms: float, kept: int) -> float:
    """Return how many messages a second there were: over the last minute, or since the oldest one that is kept."""
    recent = [message.timestamp for message in messages if now_ms - _WINDOW_MS < message.timestamp <= now_ms]
    window_ms = now_ms - min(recent) if len(recent) >= kept else _WINDOW_MS
    return len(recent) / max(window_ms, 1) * 1000


def _since(before: ServerOperation | None, now: ServerOperation) -> ServerOperation:
    if before is None or before.calls > now.calls:  # the server has begun anew
        return now
    return ServerOperation(now.name, now.calls - before.calls, now.seconds - before.seconds)


def _mean_ms(operation: ServerOperation) -> float:
    return operation.seconds / max(1, operation.calls) * 1000


def _slowest(operations: Sequence[ServerOperation]) -> list[ServerOperation]:
    return sorted(operations, key=_mean_ms, reverse=True)[:_OPERATIONS]


def _render(backend: str, glance: TopSample | StoreUnavailableError) -> RenderableType:
    if isinstance(glance, StoreUnavailableError):
        return Text.assemble(("no answer, trying again: ", "bold red"), sanitize(glance))
    return Group(*_lines(backend, glance), *_tables(glance))


def _lines(backend: str, glance: TopSample) -> list[Text]:
    about = "" if glance.whole else "about "
    rooms = f"more than {glance.sampled} rooms" if glance.rooms is None else f"{about}{pluralize(glance.rooms, 'room')}"
    whose = " in those looked at" if glance.rooms is None else ""
    totals = (
        f"{rooms}, {about}{pluralize(glance.users, 'user')}{whose}, {about}{glance.messages_per_second:.1f} messages/s"
    )
    lines = [Text.assemble((f"{backend} at {iso(glance.at)}: ", "bold"), totals)]
    if not glance.whole:
        lines.append(Text(f"a sample: {glance.sampled} rooms were looked at (--sample)", style="yellow"))
    if glance.unreadable:
        lines.append(Text(f"{pluralize(glance.unreadable, 'room')} can't be read", style="red"))
    if glance.activity is None:
        lines.append(Text("operations: n/a, this backend has no server to ask", style="dim"))
    else:
        lines += [Text(unavailable, style="yellow") for unavailable in glance.activity.unavailable]
    return lines


def _tables(glance: TopSample) -> list[RenderableType]:
    rooms = table("the busiest rooms", "room", "host", "users", "messages/s", "state")
    for seen in glance.busiest:
        state = "playing" if seen.room.video_state.is_playing else "paused"
        rate = f"{seen.messages_per_second:.2f}"
        add_row(rooms, [seen.room.id, seen.room.host_name, len(seen.room.users), rate, state])
    tables: list[RenderableType] = [rooms]
    if glance.activity is None:
        return tables
    since = "since it began to count" if glance.seconds is None else f"in the last {glance.seconds:.1f} s"
    operations = table(f"the server's slowest operations {since}", "operation", "calls", "mean ms")
    for one in _slowest(glance.activity.operations):
        add_row(operations, [one.name, one.calls, f"{_mean_ms(one):.3f}"])
    tables.append(operations)
    if glance.activity.slow:
        slow = table("the latest in its slow log", "at", "operation", "ms")
        for late in glance.activity.slow[:_SLOW]:
            add_row(slow, [iso(late.at), late.name, f"{late.seconds * 1000:.1f}"])
        tables.append(slow)
    return tables
