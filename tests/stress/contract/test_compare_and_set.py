"""The contract on rooms that are updated one at a time. The shipped backends commit concurrent updates together."""

from __future__ import annotations

from functools import partial

import pytest

from tiny_database import TinyHarness
from wnc_store import Clock, StoreSettings
from wnc_store.base import CompareAndSetRoomStore, KeyValueStore
from wnc_store_contract import StoreContract

pytestmark = pytest.mark.exhaustive


class CompareAndSetHarness(TinyHarness):
    """Stores with the update of `CompareAndSetRoomStore`."""

    def make_store(self, settings: StoreSettings, clock: Clock) -> KeyValueStore:
        """Return a store with its own connection."""
        store = super().make_store(settings, clock)
        store.rooms._update = partial(CompareAndSetRoomStore[bytes]._update, store.rooms)
        return store


class TestCompareAndSet(StoreContract):
    """A database in memory."""

    def make_harness(self) -> CompareAndSetHarness:
        """Return a harness on an empty database."""
        return CompareAndSetHarness()
