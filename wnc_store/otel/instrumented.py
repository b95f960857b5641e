"""A store that delegates to another store and reports to OpenTelemetry. Needs the extra `otel`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from time import perf_counter
from types import SimpleNamespace, TracebackType
from typing import Any, Self, TypeVar, cast, get_origin, get_type_hints

from opentelemetry.metrics import Counter, MeterProvider, get_meter
from opentelemetry.trace import SpanKind, StatusCode, TracerProvider, get_tracer, set_span_in_context, use_span

from wnc_store.errors import (
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    RoomExistsError,
    RoomNotFoundError,
    UserNotFoundError,
)
from wnc_store.events import RoomEvents
from wnc_store.protocols import ChatStore, ConnectionCounter, RateLimiter, RoomStore, Store
from wnc_store.snapshots import SupportsRestore
from wnc_store.statistics import SupportsServerActivity, SupportsStatistics

ComponentT = TypeVar("ComponentT")
MethodT = TypeVar("MethodT", bound=Callable[..., Any])

_SCOPE = "wnc_store"
_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Bucket boundaries of durations in seconds: those of the OpenTelemetry conventions, and two below a millisecond."""

_EXPECTED_ERRORS = (
    RoomNotFoundError,
    UserNotFoundError,
    RoomExistsError,
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    asyncio.CancelledError,
)
"""Errors that do not set the span status, because the store works."""

_END = object()


class Telemetry:
    """The spans and metrics of one store."""

    def __init__(
        self, store: Store, system: str, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
    ) -> None:
        # By the conventions, a span of kind CLIENT is a call that leaves the process.
        self.kind = SpanKind.INTERNAL if system == "memory" else SpanKind.CLIENT
        self.system = {"db.system.name": system}
        self.tracer = get_tracer(_SCOPE, version("wnc-store"), tracer_provider)
        self._meter = get_meter(_SCOPE, version("wnc-store"), meter_provider)
        self.duration = self._meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of store operations.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._statistics = store.statistics if isinstance(store, SupportsStatistics) else None
        self._reported: dict[str, int] = {}
        self._counters: dict[str, Counter] = {}

    def make_proxy(self, name: str, protocol: type[ComponentT], component: ComponentT) -> ComponentT:
        """Return a proxy of a store component that reports the operations of its protocol."""
        proxy = SimpleNamespace()
        self.add_methods(proxy, protocol, component, f"{name}.")
        return cast("ComponentT", proxy)

    def add_methods(self, proxy: object, protocol: type, target: object, prefix: str = "") -> None:
        """Add the methods of a protocol to the proxy. They call the target and report each operation."""
        for name, declared in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                setattr(proxy, name, self.wrap(f"{prefix}{name}", declared, getattr(target, name)))

    def wrap(self, name: str, declared: Callable[..., Any], method: MethodT) -> MethodT:
        """Wrap a method that is declared as a coroutine function or an async iterator. Return other methods as is."""
        if inspect.iscoroutinefunction(declared):

            @wraps(declared)
            async def call(*args: Any, **kwargs: Any) -> Any:
                operation = _Operation(self, name)
                try:
                    with operation.running():
                        return await method(*args, **kwargs)
                finally:
                    operation.end()

            return cast("MethodT", call)
        if get_origin(get_type_hints(declared)["return"]) is AsyncIterator:

            @wraps(declared)
            def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
                return self._iterate(name, method(*args, **kwargs))

            return cast("MethodT", iterate)
        return method

    def report_statistics(self) -> None:
        """Add the increase of the store's statistics since the last report to the counters."""
        if self._statistics is None:
            return
        for name, total in self._statistics().items():
            if name not in self._counters:
                description = "Internal statistics of a store."
                self._counters[name] = self._meter.create_counter(f"{_SCOPE}.{name}", description=description)
            self._counters[name].add(total - self._reported.get(name, 0), self.system)
            self._reported[name] = total

    async def _iterate(self, name: str, items: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        """Yield the items. The duration excludes the time that the caller spends between items."""
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


class _Operation:
    """The span, the duration and the error of one call."""

    def __init__(self, telemetry: Telemetry, name: str) -> None:
        self._telemetry = telemetry
        self._attributes = {**telemetry.system, "db.operation.name": name}
        self._span = telemetry.tracer.start_span(name, kind=telemetry.kind, attributes=self._attributes)
        self._seconds = 0.0

    @contextmanager
    def running(self) -> Generator[None]:
        """Make the span current and add the elapsed time to the duration. Can be entered several times."""
        start = perf_counter()
        try:
            with use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            self._attributes["error.type"] = type(error).__qualname__
            self._span.set_attribute("error.type", type(error).__qualname__)
            if not isinstance(error, _EXPECTED_ERRORS):
                self._span.set_status(StatusCode.ERROR)
            raise
        finally:
            self._seconds += perf_counter() - start

    def end(self) -> None:
        """End the span and record the duration."""
        self._telemetry.duration.record(self._seconds, self._attributes, context=set_span_in_context(self._span))
        self._span.end()
        self._telemetry.report_statistics()


class InstrumentedStore:
    """A `Store` that delegates to another store, including its optional protocols, and reports each operation."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry
        self.rooms: RoomStore = telemetry.make_proxy("rooms", RoomStore, store.rooms)
        self.chat: ChatStore = telemetry.make_proxy("chat", ChatStore, store.chat)
        self.connections: ConnectionCounter = telemetry.make_proxy("connections", ConnectionCounter, store.connections)
        self.rate_limits: RateLimiter = telemetry.make_proxy("rate_limits", RateLimiter, store.rate_limits)
        self.events: RoomEvents = telemetry.make_proxy("events", RoomEvents, store.events)
        self.ping = telemetry.wrap("ping", Store.ping, store.ping)
        self.health = telemetry.wrap("health", Store.health, store.health)
        for protocol in (SupportsStatistics, SupportsServerActivity, SupportsRestore):
            if isinstance(store, protocol):
                telemetry.add_methods(self, protocol, store)

    @property
    def closed(self) -> bool:
        """See `Store.closed`."""
        return self._store.closed

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        try:
            await self._store.aclose()
        finally:
            self._telemetry.report_statistics()

    async def __aenter__(self) -> Self:
        """Return this store."""
        await self._store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both stores."""
        await self.aclose()
