"""The contract on a store that is instrumented with OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from wnc_store import Store
from wnc_store.otel import instrument
from wnc_store_contract import Harness, StoreContract
from wnc_store_contract.memory import MemoryHarness


class InstrumentedHarness(Harness):
    """Instrumented memory stores."""

    capabilities = MemoryHarness.capabilities

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        self._memory = MemoryHarness()
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider

    def open_store(self, **settings: Any) -> Store:
        """Return an instrumented client of the database."""
        store = self._memory.open_store(**settings)
        return instrument(store, tracer_provider=self._tracer_provider, meter_provider=self._meter_provider)

    async def advance(self, seconds: float) -> None:
        """Advance the clock."""
        await self._memory.advance(seconds)


class TestInstrumented(StoreContract):
    """Memory stores with real spans and metrics."""

    @pytest.fixture(autouse=True)
    def _collect(self) -> Iterator[None]:
        self.tracer_provider, self.meter_provider = TracerProvider(), MeterProvider()
        yield
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()

    def make_harness(self) -> InstrumentedHarness:
        """Return a harness with a new database."""
        return InstrumentedHarness(self.tracer_provider, self.meter_provider)
