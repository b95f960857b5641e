"""OpenTelemetry spans and metrics of a store: `store = instrument(open_store())`.

Names and attributes follow the OpenTelemetry conventions for database clients. Attributes never contain ids, names,
texts or error messages. Spans do not record exceptions, because exception messages contain ids.

Metrics:

- `db.client.operation.duration`: a histogram of operation durations in seconds.
- `wnc_store.commits`, `wnc_store.retries`, ...: counters, see `wnc_store.SupportsStatistics`.

Attributes of spans and metrics:

- `db.system.name`, on spans and metrics: the backend, for example `redis`, `postgresql` or `memory`.
- `db.operation.name`, on spans and durations: component and method, for example `rooms.add_user_to_room` or `ping`.
- `error.type`, on spans and durations: the class of the raised error. Absent if the operation succeeded.

The span status is an error if the store failed. These outcomes do not set it: a missing or existing room, a missing
user, an invalid id, a reached limit, an unsupported operation and a cancelled caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wnc_store.protocols import Store

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

__all__ = ["instrument"]

_CONVENTIONAL_NAMES = {"postgres": "postgresql"}
"""Values of `db.system.name` in the OpenTelemetry conventions that differ from the name of the class."""


def instrument(
    store: Store,
    *,
    system: str | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Store:
    """Return a store that delegates to `store` and reports each operation to OpenTelemetry.

    Without the extra `otel`, return `store` itself, which adds no overhead. Closing one of the two stores closes both.

    Args:
        store: The store to instrument.
        system: Value of `db.system.name`. Default: the class name of the store in lower case without "Store", for
            example "redis" for RedisStore, and "postgresql" for PostgresStore.
        tracer_provider: Provider of the spans. Default: the global one.
        meter_provider: Provider of the metrics. Default: the global one.
    """
    try:
        from wnc_store.otel.instrumented import InstrumentedStore, Telemetry  # noqa: PLC0415 - needs the extra "otel"
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        return store
    if isinstance(store, InstrumentedStore):
        return store
    name = type(store).__name__.removesuffix("Store").lower()
    system = system or _CONVENTIONAL_NAMES.get(name, name)
    return InstrumentedStore(store, Telemetry(store, system, tracer_provider, meter_provider))
