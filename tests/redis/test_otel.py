"""What an instrumented store tells OpenTelemetry."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import version
from inspect import getmembers, isfunction
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from redis_server import RedisServer
from wnc_store import (
    AppEvent,
    ChatStore,
    ConnectionCounter,
    InvalidIdError,
    LimitExceededError,
    RateLimiter,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    RoomStore,
    Snapshot,
    Store,
    StoreClosedError,
    StoreSettings,
    SupportsRestore,
    SupportsServerActivity,
    SupportsStatistics,
    UserNotFoundError,
    open_store,
)
from wnc_store.otel import instrument, instrumented
from wnc_store_contract.factories import message, room, user
from wnc_store_memory import MemoryStore

_SECRETS = ("SECRET-9f1c", "A-room", "A-user", "A-name", "A-text", "A-connection", "A-client")


class _Collected:
    """What was told."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics])

    def instrument(self, store: Store, system: str | None = None) -> Store:
        """Return a store that tells these."""
        return instrument(
            store, system=system, tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in that order."""
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def durations(self) -> dict[tuple[str, str | None], HistogramDataPoint]:
        """Return the durations by operation and error."""
        found: list[HistogramDataPoint] = self.points("db.client.operation.duration")
        return {
            (str((of.attributes or {})["db.operation.name"]), _text((of.attributes or {}).get("error.type"))): of
            for of in found
        }

    def counts(self) -> dict[str, int | float]:
        """Return what the store has counted inside."""
        found: dict[str, int | float] = {}
        for name in ("commits", "retries", "batches"):
            points: list[NumberDataPoint] = self.points(f"wnc_store.{name}")
            for point in points:
                assert dict(point.attributes or {}) == {"db.system.name": "counting"}
                found[name] = point.value
        return found

    def all_text(self) -> str:
        """Return all that was told, in one text."""
        spans = [span.to_json() for span in self.spans]
        data = self._metrics.get_metrics_data()
        return json.dumps(spans) + (data.to_json() if data else "")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


@pytest.fixture
def collected() -> Iterator[_Collected]:
    """Spans and metrics, kept in memory."""
    told = _Collected()
    yield told
    told.tracer_provider.shutdown()
    told.meter_provider.shutdown()


@pytest.fixture
async def store(collected: _Collected) -> AsyncIterator[Store]:
    """An instrumented store in memory."""
    async with collected.instrument(MemoryStore()) as store:
        yield store


async def _call_everything(store: Store) -> set[str]:
    """Call each operation of a store once; return their names."""
    rooms, chat, connections, limits = store.rooms, store.chat, store.connections, store.rate_limits
    await rooms.create_room(room("A-room", "A-user", host_token="SECRET-9f1c"))
    await rooms.update_room("A-room", room("A-room", "A-user"))
    await rooms.edit_room("A-room", lambda found: found.model_copy(update={"host_name": "A-name"}))
    await rooms.add_user_to_room("A-room", user("A-user2", name="A-name"))
    await rooms.transfer_host("A-room", "A-user2")
    await rooms.update_video_state("A-room", room("A-room").video_state)
    await rooms.set_video_url("A-room", "https://A-text")
    await rooms.get_room("A-room")
    await rooms.room_exists("A-room")
    await rooms.room_ttl("A-room")
    assert [room_id async for room_id in rooms.active_room_ids()] == ["A-room"]
    await rooms.sweep_active_rooms()
    await chat.add_message(message(1, "A-room", message="A-text"))
    await chat.get_messages("A-room")
    await chat.chat_ttl("A-room")
    await chat.clear_messages("A-room")
    await rooms.remove_user_from_room("A-room", "A-user")
    await rooms.delete_room("A-room")
    await connections.acquire("A-client", "A-connection", limit=1)
    await connections.count("A-client")
    await connections.release("A-client", "A-connection")
    await limits.hit("A-client")
    await limits.peek("A-client")
    await limits.reset("A-client")
    await store.events.publish("A-room", AppEvent(room_id="A-room", name="A-name", value="A-text"))
    await store.ping()
    await store.health()
    protocols: dict[str, type] = {
        "rooms": RoomStore,
        "chat": ChatStore,
        "connections": ConnectionCounter,
        "rate_limits": RateLimiter,
    }
    methods = {
        f"{part}.{name}"
        for part, protocol in protocols.items()
        for name, _ in getmembers(protocol, isfunction)
        if not name.startswith("_")
    }
    return methods | {"events.publish", "ping", "health"}  # to subscribe is no operation that ends


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_each_operation_is_told_of(backend: str, collected: _Collected, redis_server: RedisServer) -> None:
    """Each operation of each protocol has a span and a duration, under the name of its part and method."""
    url = "memory://" if backend == "memory" else redis_server.url
    async with collected.instrument(open_store(url)) as store:
        expected = await _call_everything(store)
    assert {span.name for span in collected.spans} == expected
    assert {name for name, error in collected.durations() if error is None} == expected
    for span in collected.spans:
        assert span.kind is (SpanKind.INTERNAL if backend == "memory" else SpanKind.CLIENT)
        assert dict(span.attributes or {}) == {"db.system.name": backend, "db.operation.name": span.name}
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope is not None
        assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == (
            "wnc_store",
            version("wnc-store"),
        )


async def test_nothing_private_is_told(collected: _Collected, store: Store) -> None:
    """No span and no metric holds an id, a name, a text or a token, not even where an error's message does."""
    await _call_everything(store)
    for failing in (
        lambda: store.rooms.transfer_host("A-room", "A-user"),
        lambda: store.rooms.add_user_to_room("A-room", user("A-user")),
        lambda: store.rooms.get_room("A-room/"),
        lambda: store.rooms.update_room("A-room", room("A-room2")),
    ):
        with pytest.raises((RoomNotFoundError, ValueError)):
            await failing()
    told = collected.all_text()
    assert "add_user_to_room" in told
    assert [secret for secret in _SECRETS if secret in told] == []


async def test_durations_are_seconds(collected: _Collected, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A duration is in seconds, one for each call, in buckets that tell milliseconds apart."""
    monkeypatch.setattr(instrumented, "perf_counter", itertools.count(0, 0.25).__next__)
    for _ in range(3):
        await store.rooms.room_exists("A")
    told = collected.durations()["rooms.room_exists", None]
    assert (told.count, told.sum) == (3, 0.75)
    assert told.explicit_bounds[:4] == (0.0001, 0.0005, 0.001, 0.005)


class _Failing(MemoryStore):
    """A store that fails to answer a ping."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    async def _ping(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        RoomNotFoundError("A"),
        UserNotFoundError("A", "u"),
        RoomExistsError("A"),
        InvalidIdError("room id", "*"),
        LimitExceededError("it", limit=1, found=2),
        asyncio.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_answer_is_no_failure(collected: _Collected, error: BaseException) -> None:
    """What a guest or a caller brought about is told by its class, and the span is no error."""
    with pytest.raises(type(error)):
        await collected.instrument(_Failing(error)).ping()
    (span,) = collected.spans
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})["error.type"] == type(error).__name__
    assert set(collected.durations()) == {("ping", type(error).__name__)}


@pytest.mark.parametrize("error", [StoreClosedError(), ZeroDivisionError("A-text")])
async def test_a_failure_is_an_error(collected: _Collected, error: Exception) -> None:
    """Any other error makes the span one, with the class and without the message."""
    with pytest.raises(type(error)):
        await collected.instrument(_Failing(error)).ping()
    (span,) = collected.spans
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert (span.attributes or {})["error.type"] == type(error).__name__
    assert span.events == ()


async def test_the_span_is_current(collected: _Collected, store: Store) -> None:
    """What a backend does during an operation belongs to its span, and what its caller does before belongs above it."""
    inside: list[object] = []

    def change(found: Room) -> Room:
        inside.append(get_current_span().get_span_context().span_id)
        return found

    await store.rooms.create_room(room("A"))
    with collected.tracer_provider.get_tracer("app").start_as_current_span("request") as above:
        await store.rooms.edit_room("A", change)
        assert get_current_span() is above
    edit = next(span for span in collected.spans if span.name == "rooms.edit_room")
    assert edit.context is not None
    assert inside == [edit.context.span_id]
    assert edit.parent is not None
    assert edit.parent.span_id == above.get_span_context().span_id


async def test_an_iteration_is_one_operation(collected: _Collected, store: Store) -> None:
    """Listing rooms is one span, which is not current while the caller looks at a room, and may end early."""
    for room_id in ("A", "B", "C"):
        await store.rooms.create_room(room(room_id))
    async for _ in store.rooms.active_room_ids():
        assert not get_current_span().is_recording()
    async with aclosing(cast("AsyncGenerator[str]", store.rooms.active_room_ids())) as listing:
        await anext(listing)
    told = [span for span in collected.spans if span.name == "rooms.active_room_ids"]
    assert [span.status.status_code for span in told] == [StatusCode.UNSET] * 2
    assert collected.durations()["rooms.active_room_ids", None].count == 2


async def test_an_iteration_that_is_left_ends_the_backends(collected: _Collected) -> None:
    """Who stops iterating ends the backend's own iteration, too, at once."""
    ended: list[bool] = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "A"
        finally:
            ended.append(True)

    inner = MemoryStore()
    inner.rooms.active_room_ids = endless
    async with collected.instrument(inner) as store:
        async with aclosing(cast("AsyncGenerator[str]", store.rooms.active_room_ids())) as listing:
            assert await anext(listing) == "A"
        assert ended == [True]


async def test_an_iteration_that_fails(collected: _Collected, store: Store) -> None:
    """Listing the rooms of a closed store is told as the error that it raises."""
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await anext(store.rooms.active_room_ids())
    (span,) = collected.spans
    assert (span.name, span.status.status_code) == ("rooms.active_room_ids", StatusCode.ERROR)


async def test_the_time_of_an_iteration_is_the_stores(
    collected: _Collected, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The duration of a listing leaves out what the caller does between two rooms."""
    await store.rooms.create_room(room("A"))
    now = [0.0]
    monkeypatch.setattr(instrumented, "perf_counter", lambda: now[0])
    async for _ in store.rooms.active_room_ids():
        now[0] += 60
    assert now == [60]
    assert collected.durations()["rooms.active_room_ids", None].sum == 0


class _CountingStore(MemoryStore):
    """A store that counts inside."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {"commits": 5, "retries": 0}

    def statistics(self) -> Mapping[str, int]:
        """Return the counts."""
        return self.counts


async def test_what_a_store_counts_inside(collected: _Collected) -> None:
    """What a store counts inside is told after its next operation, also what began to count later."""
    inner = _CountingStore()
    assert isinstance(inner, SupportsStatistics)
    assert not isinstance(MemoryStore(), SupportsStatistics)
    store = collected.instrument(inner, "counting")
    await store.ping()
    assert collected.counts() == {"commits": 5, "retries": 0}
    inner.counts = {"commits": 7, "retries": 1, "batches": 3}
    await store.ping()
    assert collected.counts() == {"commits": 7, "retries": 1, "batches": 3}


async def test_what_not_every_store_can_do(collected: _Collected, redis_server: RedisServer) -> None:
    """An instrumented store can restore, count and ask its server if the other can, and what waits is told of."""
    snapshot = Snapshot(room("A"), timedelta(hours=1))
    settings = StoreSettings(key_prefix="optional:")
    async with collected.instrument(open_store(redis_server.url, settings=settings)) as store:
        assert isinstance(store, SupportsRestore)
        assert isinstance(store, SupportsServerActivity)
        assert isinstance(store, SupportsStatistics)
        await store.restore(snapshot)
        assert await store.rooms.get_room("A") == snapshot.room
        assert (await store.activity()).listed_rooms == 1
        assert store.statistics()["commands"] > 0
    assert [span.name for span in collected.spans] == ["restore", "rooms.get_room", "activity"]
    assert not isinstance(collected.instrument(MemoryStore()), SupportsStatistics | SupportsServerActivity)


async def test_two_stores_count_together(collected: _Collected) -> None:
    """The counts of two stores on one backend add up, and what was counted while closing is told, too."""
    one, other = _CountingStore(), _CountingStore()
    first, second = collected.instrument(one, "counting"), collected.instrument(other, "counting")
    await first.ping()
    await second.ping()
    assert collected.counts()["commits"] == 10
    one.counts = {"commits": 8}
    await first.aclose()
    assert collected.counts()["commits"] == 13


async def test_instrumenting_again_changes_nothing(collected: _Collected) -> None:
    """A store that tells of its operations is not made to tell twice."""
    store = collected.instrument(MemoryStore())
    assert collected.instrument(store) is store


async def test_closing_closes_both(collected: _Collected) -> None:
    """The instrumented store is a context manager of its own, and closes what it stands before."""
    inner = MemoryStore()
    async with collected.instrument(inner) as store:
        assert store is not inner
        assert not store.closed
    assert store.closed
    assert inner.closed
    with pytest.raises(StoreClosedError):
        await store.__aenter__()


@pytest.mark.parametrize("module", ["opentelemetry.metrics", "opentelemetry.trace"])
def test_it_costs_nothing_without_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry, the very store comes back."""
    monkeypatch.delitem(sys.modules, "wnc_store.otel.instrumented", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    store = MemoryStore(StoreSettings())
    assert instrument(store) is store


def test_other_missing_modules_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails for another reason is an error."""
    monkeypatch.delitem(sys.modules, "wnc_store.otel.instrumented", raising=False)
    monkeypatch.setitem(sys.modules, "wnc_store.health", None)
    with pytest.raises(ImportError, match=r"wnc_store\.health"):
        instrument(MemoryStore())


async def test_redis_counts_inside(collected: _Collected, redis_server: RedisServer) -> None:
    """A store on Redis has counts to tell of."""
    async with open_store(redis_server.url) as inner:
        store = collected.instrument(inner, "counting")
        await store.rooms.create_room(room("A"))
        await store.rooms.delete_room("A")
        assert collected.counts() == {"commits": 1, "retries": 0, "batches": 2}
