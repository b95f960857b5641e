"""Spans and metrics of instrumented stores."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from importlib.metadata import version
from typing import Any, cast

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from every_operation import SECRETS, operations, refusals
from redis_server import RedisServer
from wnc_store import (
    InvalidIdError,
    LimitExceededError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
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
from wnc_store_contract.factories import room, user
from wnc_store_memory import MemoryStore


class _Collector:
    """Collects spans and metrics in memory."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics])

    def instrument(self, store: Store, system: str | None = None) -> Store:
        """Return an instrumented store that reports to this collector."""
        return instrument(
            store, system=system, tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        """The finished spans, in the order in which they ended."""
        return list(self._spans.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
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
        """Return the duration histograms by operation and error type."""
        histograms: dict[tuple[str, str | None], HistogramDataPoint] = {}
        for point in self.points("db.client.operation.duration"):
            error = point.attributes.get("error.type")
            histograms[point.attributes["db.operation.name"], error] = point
        return histograms

    def counts(self) -> dict[str, int | float]:
        """Return the values of the counters of the store's statistics."""
        counts: dict[str, int | float] = {}
        for name in ("commits", "retries", "batches"):
            points: list[NumberDataPoint] = self.points(f"wnc_store.{name}")
            for point in points:
                assert dict(point.attributes or {}) == {"db.system.name": "counting"}
                counts[name] = point.value
        return counts

    def all_text(self) -> str:
        """Return all spans and metrics as one text."""
        spans = [span.to_json() for span in self.spans]
        data = self._metrics.get_metrics_data()
        return json.dumps(spans) + (data.to_json() if data else "")


@pytest.fixture
def collector() -> Iterator[_Collector]:
    """A collector, which is shut down after the test."""
    collector = _Collector()
    yield collector
    collector.tracer_provider.shutdown()
    collector.meter_provider.shutdown()


@pytest.fixture
async def store(collector: _Collector) -> AsyncIterator[Store]:
    """An instrumented store in memory."""
    async with collector.instrument(MemoryStore()) as store:
        yield store


@pytest.mark.parametrize("backend", ["memory", "redis"])
async def test_each_operation_is_reported(backend: str, collector: _Collector, redis_server: RedisServer) -> None:
    """Each operation of each protocol has a span and a duration, named by component and method."""
    url = "memory://" if backend == "memory" else redis_server.url
    async with collector.instrument(open_store(url)) as store:
        assert await refusals(store) == []
        await store.health()
        await store.rooms.delete_room("B-room")
    expected = operations() | {"events.publish", "ping", "health"}  # events.subscribe returns a context manager
    assert {span.name for span in collector.spans} == expected
    assert {name for name, error in collector.durations() if error is None} == expected
    for span in collector.spans:
        assert span.kind is (SpanKind.INTERNAL if backend == "memory" else SpanKind.CLIENT)
        assert dict(span.attributes or {}) == {"db.system.name": backend, "db.operation.name": span.name}
        assert span.status.status_code is StatusCode.UNSET
        assert span.instrumentation_scope is not None
        assert (span.instrumentation_scope.name, span.instrumentation_scope.version) == (
            "wnc_store",
            version("wnc-store"),
        )


async def test_spans_and_metrics_contain_no_data(collector: _Collector, store: Store) -> None:
    """Spans and metrics contain no id, name, text or token, even if the message of an error does."""
    await refusals(store)
    for failing in (
        lambda: store.rooms.transfer_host("A-room", "A-user"),
        lambda: store.rooms.add_user_to_room("A-room", user("A-user")),
        lambda: store.rooms.get_room("A-room/"),
        lambda: store.rooms.update_room("A-room", room("A-room2")),
    ):
        with pytest.raises((RoomNotFoundError, ValueError)):
            await failing()
    text = collector.all_text()
    assert "add_user_to_room" in text
    assert [secret for secret in SECRETS if secret in text] == []


async def test_durations_are_seconds(collector: _Collector, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The histogram records seconds, once per call, in buckets with millisecond resolution."""
    monkeypatch.setattr(instrumented, "perf_counter", itertools.count(0, 0.25).__next__)
    for _ in range(3):
        await store.rooms.room_exists("A")
    histogram = collector.durations()["rooms.room_exists", None]
    assert (histogram.count, histogram.sum) == (3, 0.75)
    assert histogram.explicit_bounds[:4] == (0.0001, 0.0005, 0.001, 0.005)


class _FailingStore(MemoryStore):
    """A store whose ping raises an error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    async def _ping(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RoomNotFoundError("A"), StatusCode.UNSET),
        (UserNotFoundError("A", "u"), StatusCode.UNSET),
        (RoomExistsError("A"), StatusCode.UNSET),
        (InvalidIdError("room id", "*"), StatusCode.UNSET),
        (LimitExceededError("room", limit=1, actual=2), StatusCode.UNSET),
        (asyncio.CancelledError(), StatusCode.UNSET),
        (StoreClosedError(), StatusCode.ERROR),
        (ZeroDivisionError("A-text"), StatusCode.ERROR),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_errors_are_reported_by_class(collector: _Collector, error: BaseException, status: StatusCode) -> None:
    """An error is reported by its class, without its message; it sets the span status unless the caller caused it."""
    with pytest.raises(type(error)):
        await collector.instrument(_FailingStore(error)).ping()
    (span,) = collector.spans
    assert (span.status.status_code, span.status.description, span.events) == (status, None, ())
    assert (span.attributes or {})["error.type"] == type(error).__name__
    assert set(collector.durations()) == {("ping", type(error).__name__)}


async def test_the_span_is_current(collector: _Collector, store: Store) -> None:
    """The span of an operation is current during the operation, and the span of the caller is its parent."""
    current: list[object] = []

    def change(found: Room) -> Room:
        current.append(get_current_span().get_span_context().span_id)
        return found

    await store.rooms.create_room(room("A"))
    with collector.tracer_provider.get_tracer("app").start_as_current_span("request") as parent:
        await store.rooms.edit_room("A", change)
        assert get_current_span() is parent
    edit = next(span for span in collector.spans if span.name == "rooms.edit_room")
    assert edit.context is not None
    assert current == [edit.context.span_id]
    assert edit.parent is not None
    assert edit.parent.span_id == parent.get_span_context().span_id


async def test_an_iteration_is_one_operation(collector: _Collector, store: Store) -> None:
    """An iteration is one span, which is not current while the caller handles an item, and which may end early."""
    for room_id in ("A", "B", "C"):
        await store.rooms.create_room(room(room_id))
    async for _ in store.rooms.active_room_ids():
        assert not get_current_span().is_recording()
    async with aclosing(cast("AsyncGenerator[str]", store.rooms.active_room_ids())) as listing:
        await anext(listing)
    spans = [span for span in collector.spans if span.name == "rooms.active_room_ids"]
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET] * 2
    assert collector.durations()["rooms.active_room_ids", None].count == 2


async def test_closing_an_iteration_closes_that_of_the_backend(collector: _Collector) -> None:
    """Closing an iteration immediately closes the iterator of the backend."""
    closed: list[bool] = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "A"
        finally:
            closed.append(True)

    inner = MemoryStore()
    inner.rooms.active_room_ids = endless
    async with collector.instrument(inner) as store:
        async with aclosing(cast("AsyncGenerator[str]", store.rooms.active_room_ids())) as listing:
            assert await anext(listing) == "A"
        assert closed == [True]


async def test_an_iteration_that_fails(collector: _Collector, store: Store) -> None:
    """An error of an iteration sets the status of its span."""
    await store.aclose()
    with pytest.raises(StoreClosedError):
        await anext(store.rooms.active_room_ids())
    (span,) = collector.spans
    assert (span.name, span.status.status_code) == ("rooms.active_room_ids", StatusCode.ERROR)


async def test_the_duration_of_an_iteration_excludes_the_caller(
    collector: _Collector, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The duration of an iteration excludes the time that the caller spends between items."""
    await store.rooms.create_room(room("A"))
    now = [0.0]
    monkeypatch.setattr(instrumented, "perf_counter", lambda: now[0])
    async for _ in store.rooms.active_room_ids():
        now[0] += 60
    assert now == [60]
    assert collector.durations()["rooms.active_room_ids", None].sum == 0


class _CountingStore(MemoryStore):
    """A store with statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {"commits": 5, "retries": 0}

    def statistics(self) -> Mapping[str, int]:
        """Return the counts."""
        return self.counts


async def test_statistics_become_counters(collector: _Collector) -> None:
    """The statistics of a store are reported after each operation, including counts that appear later."""
    inner = _CountingStore()
    assert isinstance(inner, SupportsStatistics)
    assert not isinstance(MemoryStore(), SupportsStatistics)
    store = collector.instrument(inner, "counting")
    await store.ping()
    assert collector.counts() == {"commits": 5, "retries": 0}
    inner.counts = {"commits": 7, "retries": 1, "batches": 3}
    await store.ping()
    assert collector.counts() == {"commits": 7, "retries": 1, "batches": 3}


async def test_optional_protocols(collector: _Collector, redis_server: RedisServer) -> None:
    """An instrumented store supports the optional protocols of its store and reports their async operations."""
    snapshot = Snapshot(room("A"), timedelta(hours=1))
    settings = StoreSettings(key_prefix="optional:")
    async with collector.instrument(open_store(redis_server.url, settings=settings)) as store:
        assert isinstance(store, SupportsRestore)
        assert isinstance(store, SupportsServerActivity)
        assert isinstance(store, SupportsStatistics)
        await store.restore(snapshot)
        assert await store.rooms.get_room("A") == snapshot.room
        assert (await store.activity()).listed_rooms == 1
        assert store.statistics()["commands"] > 0
    assert [span.name for span in collector.spans] == ["restore", "rooms.get_room", "activity"]
    assert not isinstance(collector.instrument(MemoryStore()), SupportsStatistics | SupportsServerActivity)


async def test_the_counts_of_two_stores_add_up(collector: _Collector) -> None:
    """The counts of two stores with the same system add up, and closing a store reports its last counts."""
    store, other = _CountingStore(), _CountingStore()
    first, second = collector.instrument(store, "counting"), collector.instrument(other, "counting")
    await first.ping()
    await second.ping()
    assert collector.counts()["commits"] == 10
    store.counts = {"commits": 8}
    await first.aclose()
    assert collector.counts()["commits"] == 13


async def test_instrumenting_again_changes_nothing(collector: _Collector) -> None:
    """Instrumenting an instrumented store returns the same store."""
    store = collector.instrument(MemoryStore())
    assert collector.instrument(store) is store


async def test_closing_closes_both(collector: _Collector) -> None:
    """The instrumented store is a context manager, and closing it closes the underlying store."""
    inner = MemoryStore()
    async with collector.instrument(inner) as store:
        assert store is not inner
        assert not store.closed
    assert store.closed
    assert inner.closed
    with pytest.raises(StoreClosedError):
        await store.__aenter__()


@pytest.mark.parametrize("module", ["opentelemetry.metrics", "opentelemetry.trace"])
def test_it_costs_nothing_without_the_extra(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenTelemetry, `instrument` returns the store itself."""
    monkeypatch.delitem(sys.modules, "wnc_store.otel.instrumented", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    store = MemoryStore(StoreSettings())
    assert instrument(store) is store


def test_other_missing_modules_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import error for another module is raised."""
    monkeypatch.delitem(sys.modules, "wnc_store.otel.instrumented", raising=False)
    monkeypatch.setitem(sys.modules, "wnc_store.snapshots", None)
    with pytest.raises(ImportError, match=r"wnc_store\.snapshots"):
        instrument(MemoryStore())
