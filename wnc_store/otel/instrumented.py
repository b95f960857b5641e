"""A store that stands before another, and tells OpenTelemetry of each operation. Needs the extra `otel`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar, cast, get_origin, get_type_hints

from opentelemetry.metrics import Counter, MeterProvider, get_meter
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider, get_tracer, set_span_in_context, use_span

from wnc_store.errors import (
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    RoomExistsError,
    RoomNotFoundError,
    UserNotFoundError,
)
from wnc_store.events import RoomEvents
from wnc_store.health import HealthReport
from wnc_store.protocols import ChatStore, ConnectionCounter, RateLimiter, RoomStore, Store
from wnc_store.snapshots import SupportsRestore
from wnc_store.statistics import SupportsServerActivity, SupportsStatistics

PartT = TypeVar("PartT")

_SCOPE = "wnc_store"
_SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Where the buckets of durations end: those of OpenTelemetry's conventions, and two below a millisecond."""

_EXPECTED_ERRORS = (
    RoomNotFoundError,
    UserNotFoundError,
    RoomExistsError,
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    asyncio.CancelledError,
)
"""Errors with which a store serves well, and what is none of its doing."""

_OPTIONAL: tuple[type, ...] = (SupportsStatistics, SupportsServerActivity, SupportsRestore)
"""What not every store can do; an instrumented one can what the other can."""

_DESCRIPTION = "What a store has counted inside."
_END = object()


class Telemetry:
    """What is told of one store."""

    def __init__(
        self, store: Store, system: str, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        # Conventions: a client's span is one of a call that leaves the process.
        self._kind = SpanKind.INTERNAL if system == "memory" else SpanKind.CLIENT
        self._system = {"db.system.name": system}
        self._tracer = get_tracer(_SCOPE, version("wnc-store"), tracer_provider)
        self._meter = get_meter(_SCOPE, version("wnc-store"), meter_provider)
        self._duration = self._meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of a store's operations.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._statistics = store.statistics if isinstance(store, SupportsStatistics) else None
        self._reported: dict[str, int] = {}
        self._counters: dict[str, Counter] = {}

    def part(self, name: str, protocol: type[PartT], part: PartT) -> PartT:
        """Return a stand-in for a part of a store: what the protocol declares, each operation told of."""
        stand_in = _Proxy()
        self.make_proxy(stand_in, protocol, part, f"{name}.")
        return cast("PartT", stand_in)

    def make_proxy(self, stand_in: object, protocol: type, behind: object, prefix: str = "") -> None:
        """Give an object what the protocol declares, done by what stands behind it, each operation told of."""
        for name, declared in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                setattr(stand_in, name, self.method(f"{prefix}{name}", declared, getattr(behind, name)))

    def method(self, name: str, declared: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
        """Return what does as `method` does and is told of, if it is declared as something to await or to iterate."""
        if inspect.iscoroutinefunction(declared):

            @wraps(declared)
            async def call(*args: Any, **kwargs: Any) -> Any:
                operation = _Operation(self, name)
                try:
                    with operation.running():
                        return await method(*args, **kwargs)
                finally:
                    operation.end()

            return call
        if get_origin(get_type_hints(declared)["return"]) is AsyncIterator:

            @wraps(declared)
            def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                return self._iterate(name, method(*args, **kwargs))

            return iterate
        return method

    def begin(self, name: str) -> Span:
        """Begin an operation's span."""
        return self._tracer.start_span(name, kind=self._kind, attributes={**self._system, **_operation(name)})

    def end(self, name: str, span: Span, seconds: float, outcome: Mapping[str, str]) -> None:
        """End an operation's span, and count it."""
        attributes = {**self._system, **_operation(name), **outcome}
        self._duration.record(seconds, attributes, context=set_span_in_context(span))
        span.end()
        self.count()

    def count(self) -> None:
        """Tell what the store has counted inside since it was last asked."""
        if self._statistics is None:
            return
        for name, total in self._statistics().items():
            if name not in self._counters:
                self._counters[name] = self._meter.create_counter(f"{_SCOPE}.{name}", description=_DESCRIPTION)
            self._counters[name].add(total - self._reported.get(name, 0), self._system)
            self._reported[name] = total

    async def _iterate(self, name: str, items: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        """Yield the items; the time that counts is the store's, not that of whoever takes them."""
        operation = _Operation(self, name)
        try:
            while True:
                with operation.running():
                    item = await anext(items, _END)
                if item is _END:
                    return
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await cast("AsyncGenerator[Any]", items).aclose()
            operation.end()


class _Proxy:
    """A stand-in for a part of a store."""


class _Operation:
    """One call: its span, the time that the store took, and how it ended."""

    def __init__(self, telemetry: Telemetry, name: str) -> None:
        self._telemetry = telemetry
        self._name = name
        self._span = telemetry.begin(name)
        self._seconds = 0.0
        self._outcome: dict[str, str] = {}

    @contextmanager
    def running(self) -> Generator[None]:
        """Be the current span, and the time that counts. May be entered again."""
        start = perf_counter()
        try:
            with use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            self._outcome = {"error.type": type(error).__qualname__}
            self._span.set_attributes(self._outcome)
            if not isinstance(error, _EXPECTED_ERRORS):
                self._span.set_status(StatusCode.ERROR)
            raise
        finally:
            self._seconds += perf_counter() - start

    def end(self) -> None:
        """Tell of it."""
        self._telemetry.end(self._name, self._span, self._seconds, self._outcome)


class InstrumentedStore:
    """A `Store` that does as another does, also what not every store can, and tells of each operation."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self.rooms: RoomStore = telemetry.part("rooms", RoomStore, store.rooms)
        self.chat: ChatStore = telemetry.part("chat", ChatStore, store.chat)
        self.connections: ConnectionCounter = telemetry.part("connections", ConnectionCounter, store.connections)
        self.rate_limits: RateLimiter = telemetry.part("rate_limits", RateLimiter, store.rate_limits)
        self.events: RoomEvents = telemetry.part("events", RoomEvents, store.events)
        self._ping: Callable[[], Awaitable[None]] = telemetry.method("ping", Store.ping, store.ping)
        self._health: Callable[[], Awaitable[HealthReport]] = telemetry.method("health", Store.health, store.health)
        for protocol in _OPTIONAL:
            if isinstance(store, protocol):
                telemetry.make_proxy(self, protocol, store)

    @property
    def closed(self) -> bool:
        """See `Store.closed`."""
        return self._store.closed

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._ping()

    async def health(self) -> HealthReport:
        """See `Store.health`."""
        return await self._health()

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        try:
            await self._store.aclose()
        finally:
            self._telemetry.count()

    async def __aenter__(self) -> Self:
        """Return this store."""
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()


def _operation(name: str) -> dict[str, str]:
    return {"db.operation.name": name}
