"""OpenTelemetry spans and metrics of a store: `store = instrument(open_store())`.

Names and attributes are those of OpenTelemetry's conventions for database clients. No attribute holds an id, a name, a
text or an error's message; a span's exceptions are not recorded, because their messages hold ids.

Metrics:

- `db.client.operation.duration`: a histogram of each operation's time, in seconds.
- `wnc_store.commits`, `wnc_store.retries`, ...: counters: see `wnc_store.SupportsStatistics`.

What they carry:

- `db.system.name`, all: the backend, say `redis` or `memory`.
- `db.operation.name`, spans and durations: part and method, say `rooms.add_user_to_room`, `chat.add_message`, `ping`.
- `error.type`, spans and durations: the class of the error that was raised; none is there when all went well.

A span's status is an error where the store failed, not where it answered that there is no such room or user, that there
is one already, that an id is invalid or a limit reached, and not where its caller was cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wnc_store.protocols import Store

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument"]


def instrument(
    store: Store,
    *,
    system: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Store:
    """Return a store that does as `store` does, and tells OpenTelemetry of each operation.

    Without the extra `otel` that is `store` itself, which costs nothing. Closing either closes both.

    Args:
        store: any store.
        system: `db.system.name`; if left out, the store's class in lower case without "Store": "redis" of RedisStore.
        tracer_provider: makes the spans; the global one if left out.
        meter_provider: makes the metrics; the global one if left out.
    """
    try:
        from wnc_store.otel.instrumented import InstrumentedStore, Telemetry  # noqa: PLC0415 - needs the extra "otel"
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        return store
    if isinstance(store, InstrumentedStore):
        return store
    name = system or type(store).__name__.removesuffix("Store").lower()
    return InstrumentedStore(store, Telemetry(store, name, tracer_provider, meter_provider))
