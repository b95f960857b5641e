"""The command `wnc-store top`, which samples the activity of a store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from wnc_store.cli.output import add_row, out, pluralize, sanitize, table
from wnc_store.cli.reading import read_rooms
from wnc_store.cli.runtime import AsJson, run
from wnc_store.cli.store import StoreOptions, open_cli_store, store_command
from wnc_store.errors import CorruptRecordError, StoreUnavailableError
from wnc_store.protocols import Store
from wnc_store.records.js_types import iso
from wnc_store.records.models import ChatMessage, Room
from wnc_store.settings import StoreSettings
from wnc_store.statistics import ServerActivity, ServerOperation, SupportsServerActivity

_WINDOW_MS = 60_000
"""Time window of the message rate."""

_CONCURRENCY = 25
"""Maximum number of rooms that are read at the same time."""

_MAX_ROOMS, _MAX_OPERATIONS, _MAX_SLOW = 15, 8, 5
"""Maximum numbers of table rows."""


class _RoomSample(NamedTuple):
    room: Room
    messages_per_second: float


@dataclass(frozen=True, slots=True)
class TopSample:
    """One sample of a store.

    Attributes:
        sampled: Number of rooms that were read.
        rooms: Number of all rooms; None if the store has more than were read and the server does not report the number.
        users: Users in all rooms, projected from the sampled rooms.
        messages_per_second: Message rate of all rooms, projected from the sampled rooms.
        unreadable: Number of sampled rooms that cannot be read.
        busiest: Rooms with the highest message rates, then with the most users.
        activity: Activity of the server; its operations are those since the previous sample.
        seconds: Seconds since the previous sample. None for the first sample, which contains all counted operations.
        at: Time of the sample.
    """

    sampled: int
    rooms: int | None
    users: int
    messages_per_second: float
    unreadable: int
    busiest: Sequence[_RoomSample]
    activity: ServerActivity | None
    seconds: float | None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def complete(self) -> bool:
        """Whether all rooms were read."""
        return self.sampled == self.rooms

    def to_json(self) -> dict[str, Any]:
        """Return the sample as JSON values."""
        value: dict[str, Any] = {
            "at": iso(self.at),
            "rooms": self.rooms,
            "sampled": self.sampled,
            "projected": not self.complete,
            "users": self.users,
            "messagesPerSecond": round(self.messages_per_second, 3),
            "unreadable": self.unreadable,
            "busiest": [
                {"id": room.id, "users": len(room.users), "messagesPerSecond": round(rate, 3)}
                for room, rate in self.busiest
            ],
        }
        if self.activity is not None:
            server = self.activity.server
            value["server"], value["version"] = (None, None) if server is None else (server.name, server.version)
            value["operations"] = [
                {"name": operation.name, "calls": operation.calls, "meanMs": round(_mean_ms(operation), 3)}
                for operation in _slowest(self.activity.operations)
            ]
            value["seconds"] = self.seconds
            value["slow"] = [
                {"name": entry.name, "ms": round(entry.seconds * 1000, 3), "at": iso(entry.at)}
                for entry in self.activity.slow
            ]
            value["unavailable"] = list(self.activity.unavailable)
        return value


class Sampler:
    """Takes samples of a store.

    Args:
        store: The store to sample.
        max_rooms: Maximum number of rooms to read per sample.
    """

    def __init__(self, store: Store, max_rooms: int) -> None:
        self._store = store
        self._max_rooms = max_rooms
        self._chat_history_limit = StoreSettings.from_environment().chat_history_limit
        self._previous: tuple[float, ServerActivity] | None = None

    async def sample(self) -> TopSample:
        """Read up to `max_rooms` rooms, and query the activity of the server if the store supports that.

        The activity is queried before the rooms are read, and again afterwards for the next sample. The reads of the
        samples themselves are therefore not part of the activity.
        """
        activity, seconds = await self._query_activity()
        room_ids: list[str] = []
        more = False
        async for room_id in self._store.rooms.active_room_ids():
            more = len(room_ids) == self._max_rooms
            if more:
                break
            room_ids.append(room_id)
        results: list[_RoomSample | CorruptRecordError | None] = []
        for start in range(0, len(room_ids), _CONCURRENCY):
            rooms = await read_rooms(self._store, room_ids[start : start + _CONCURRENCY])
            results += await asyncio.gather(*map(self._sample_room, rooms))
        samples = [result for result in results if isinstance(result, _RoomSample)]
        total = len(room_ids) if not more else activity.listed_rooms if activity is not None else None
        factor = (total or len(room_ids)) / max(1, len(room_ids))
        busiest = sorted(samples, key=lambda sample: (sample.messages_per_second, len(sample.room.users)), reverse=True)
        if isinstance(self._store, SupportsServerActivity):
            self._previous = (time.monotonic(), await self._store.activity())
        return TopSample(
            sampled=len(room_ids),
            rooms=total,
            users=round(factor * sum(len(sample.room.users) for sample in samples)),
            messages_per_second=factor * sum(sample.messages_per_second for sample in samples),
            unreadable=sum(isinstance(result, CorruptRecordError) for result in results),
            busiest=busiest[:_MAX_ROOMS],
            activity=activity,
            seconds=seconds,
        )

    async def _sample_room(self, room: Room | CorruptRecordError | None) -> _RoomSample | CorruptRecordError | None:
        if not isinstance(room, Room):
            return room
        try:
            messages = await self._store.chat.get_messages(room.id)
        except CorruptRecordError as error:
            return error
        return _RoomSample(room, _message_rate(messages, time.time() * 1000, self._chat_history_limit))

    async def _query_activity(self) -> tuple[ServerActivity | None, float | None]:
        """Return the activity of the server since the previous sample, and the seconds since then."""
        if not isinstance(self._store, SupportsServerActivity):
            return None, None
        now, activity = time.monotonic(), await self._store.activity()
        slow = tuple(entry for entry in activity.slow if not entry.own)
        if self._previous is None:
            return replace(activity, slow=slow), None
        sampled_at, previous_activity = self._previous
        counted = {operation.name: operation for operation in previous_activity.operations}
        differences = (_subtract(operation, counted.get(operation.name)) for operation in activity.operations)
        operations = tuple(operation for operation in differences if operation.calls)
        return replace(activity, operations=operations, slow=slow), now - sampled_at


@store_command
def top(
    store_options: StoreOptions,
    *,
    once: Annotated[bool, typer.Option("--once", help="Print one sample and exit.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two samples.")] = 2.0,
    sample: Annotated[int, typer.Option(min=1, help="Maximum number of rooms to read per sample.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Show rooms, users, message rates and the slowest server operations until Ctrl-C.

    With --json, print one line per sample. If the store has more rooms than --sample, the totals are projected from the
    sampled rooms and marked with "about". Message rates cover the last minute, or the time since the oldest stored
    message if that is shorter. The operations are those of all clients of the server, except this command.
    """

    async def work() -> None:
        async with open_cli_store(store_options) as store:
            samples = _samples(Sampler(store, sample), None if once else interval)
            if as_json:
                async for result in samples:
                    value = result.to_json() if isinstance(result, TopSample) else {"error": str(result)}
                    print(json.dumps(value), flush=True)  # noqa: T201 - rich would wrap the lines
            elif once or not out.is_terminal:
                async for result in samples:
                    out.print(_render(type(store).__name__, result))
            else:
                with Live(console=out, auto_refresh=False, screen=True) as live:
                    async for result in samples:
                        live.update(_render(type(store).__name__, result), refresh=True)

    with suppress(KeyboardInterrupt):
        run(work())


async def _samples(sampler: Sampler, interval: float | None) -> AsyncIterator[TopSample | StoreUnavailableError]:
    """Yield one sample, or one per interval indefinitely. After the first, yield the error of a failed sample."""
    yield await sampler.sample()
    while interval is not None:
        await asyncio.sleep(interval)
        try:
            yield await sampler.sample()
        except StoreUnavailableError as error:
            yield error


def _message_rate(messages: Sequence[ChatMessage], now_ms: float, chat_history_limit: int) -> float:
    """Return the messages per second over the last minute, or since the oldest message if the history is full."""
    recent = [message.timestamp for message in messages if now_ms - _WINDOW_MS < message.timestamp <= now_ms]
    window_ms = now_ms - min(recent) if len(recent) >= chat_history_limit else _WINDOW_MS
    return len(recent) / max(window_ms, 1) * 1000


def _subtract(current: ServerOperation, previous: ServerOperation | None) -> ServerOperation:
    if previous is None or previous.calls > current.calls:  # the server has restarted
        return current
    return ServerOperation(current.name, current.calls - previous.calls, current.seconds - previous.seconds)


def _mean_ms(operation: ServerOperation) -> float:
    return operation.seconds / max(1, operation.calls) * 1000


def _slowest(operations: Sequence[ServerOperation]) -> list[ServerOperation]:
    return sorted(operations, key=_mean_ms, reverse=True)[:_MAX_OPERATIONS]


def _render(backend: str, sample: TopSample | StoreUnavailableError) -> RenderableType:
    if isinstance(sample, StoreUnavailableError):
        return Text.assemble(("no reply, retrying: ", "bold red"), sanitize(sample))
    about = "" if sample.complete else "about "
    rooms = f"more than {sample.sampled} rooms" if sample.rooms is None else f"{about}{pluralize(sample.rooms, 'room')}"
    users = f"{about}{pluralize(sample.users, 'user')}{' in the sampled rooms' if sample.rooms is None else ''}"
    totals = f"{rooms}, {users}, {about}{sample.messages_per_second:.1f} messages/s"
    server = sample.activity.server if sample.activity is not None else None
    title = backend if server is None else f"{backend} on {server}"
    parts: list[RenderableType] = [Text.assemble((f"{title} at {iso(sample.at)}: ", "bold"), totals)]
    if not sample.complete:
        parts.append(Text(f"sampled {pluralize(sample.sampled, 'room')} (--sample)", style="yellow"))
    if sample.unreadable:
        parts.append(Text(pluralize(sample.unreadable, "unreadable room"), style="red"))
    if sample.activity is None:
        parts.append(Text("operations: not available, this backend does not report server activity", style="dim"))
    else:
        parts += [Text(unavailable, style="yellow") for unavailable in sample.activity.unavailable]
    columns = "room", "host", "users", "messages/s", "state"
    busiest = table("busiest rooms", *columns, keep={"users", "messages/s", "state"})
    for room, rate in sample.busiest:
        state = "playing" if room.video_state.is_playing else "paused"
        add_row(busiest, [room.id, room.host_name, len(room.users), f"{rate:.2f}", state])
    parts.append(busiest if sample.busiest else Text("No rooms."))
    if sample.activity is not None:
        period = "since its statistics began" if sample.seconds is None else f"in the last {sample.seconds:.1f} s"
        operations = table(
            f"slowest operations of the server {period}", "operation", "calls", "mean ms", keep={"calls", "mean ms"}
        )
        for operation in _slowest(sample.activity.operations):
            add_row(operations, [operation.name, operation.calls, f"{_mean_ms(operation):.3f}"])
        parts.append(operations)
        if sample.activity.slow:
            slow = table("latest entries of its slow log", "at", "operation", "ms", keep={"at", "ms"})
            for entry in sample.activity.slow[:_MAX_SLOW]:
                add_row(slow, [iso(entry.at), entry.name, f"{entry.seconds * 1000:.1f}"])
            parts.append(slow)
    return Group(*parts)
