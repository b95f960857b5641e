"""The contract on a store that is instrumented with OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from wnc_store.otel import instrument
from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness


class InstrumentedHarness(MemoryHarness):
    """Instrumented memory stores."""

    def __init__(self, **providers: Any) -> None:
        super().__init__()
        self._providers = providers

    def open_store(self, **settings: Any) -> Any:
        """Return an instrumented client of the database."""
        return instrument(super().open_store(**settings), **self._providers)


class TestInstrumented(StoreContract):
    """Memory stores with real spans and metrics."""

    @pytest.fixture(autouse=True)
    def _use_few_sequences(self, few_sequences: None) -> None:
        """Run the first ten of the sequences that test_any_sequence.py runs on memory stores."""

    @pytest.fixture(autouse=True)
    def _collect(self) -> Iterator[None]:
        self.providers = {"tracer_provider": TracerProvider(), "meter_provider": MeterProvider()}
        yield
        for provider in self.providers.values():
            provider.shutdown()

    def make_harness(self) -> InstrumentedHarness:
        """Return a harness with a new database."""
        return InstrumentedHarness(**self.providers)
