"""A key-value database in memory, which proves the kit without a driver."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from wnc_store import Clock, StoreClosedError, StoreSettings, StoreUnavailableError
from wnc_store.base import KeyValueDatabase, KeyValueEntry, KeyValueStore, KeyValueTransaction
from wnc_store_contract import Capability
from wnc_store_contract.key_value import KeyValueHarness

T = TypeVar("T")


class TinyData:
    """The entries of the databases that share them, by space and key.

    Attributes:
        undo: what restores the entries that the running transaction has changed.
    """

    def __init__(self) -> None:
        self._spaces: defaultdict[str, dict[str, KeyValueEntry]] = defaultdict(dict)
        self.undo: list[Callable[[], None]] = []

    def get(self, space: str, key: str, /) -> KeyValueEntry | None:
        """See `KeyValueTransaction.get`."""
        return self._spaces[space].get(key)

    def put(self, space: str, key: str, entry: KeyValueEntry, /) -> None:
        """See `KeyValueTransaction.put`."""
        self._set(space, key, entry)

    def delete(self, space: str, key: str, /) -> None:
        """See `KeyValueTransaction.delete`."""
        self._set(space, key, None)

    def scan(self, space: str, after: str, limit: int, /) -> Sequence[tuple[str, KeyValueEntry]]:
        """See `KeyValueTransaction.scan`."""
        found = self._spaces[space]
        return [(key, found[key]) for key in sorted(key for key in found if key > after)[:limit]]

    def _set(self, space: str, key: str, entry: KeyValueEntry | None) -> None:
        self.undo.append(partial(self._restore, space, key, self.get(space, key)))
        self._restore(space, key, entry)

    def _restore(self, space: str, key: str, entry: KeyValueEntry | None) -> None:
        if entry is None:
            self._spaces[space].pop(key, None)
        else:
            self._spaces[space][key] = entry


class TinyDatabase(KeyValueDatabase):
    """A connection to the data.

    Attributes:
        is_lost: whether the connection is lost, so that the next transaction fails.
    """

    def __init__(self, data: TinyData) -> None:
        self._data = data
        self._is_closed = False
        self.is_lost = False

    async def transact(self, function: Callable[[KeyValueTransaction], T], /, *, writes: bool) -> T:
        """See `KeyValueDatabase.transact`."""
        await asyncio.sleep(0)
        if self._is_closed:
            raise StoreClosedError
        if self.is_lost:
            self.is_lost = False
            message = "the connection is lost"
            raise StoreUnavailableError(message)
        self._data.undo.clear()
        try:
            result = function(self._data)
        except BaseException:
            for restore in reversed(self._data.undo):
                restore()
            raise
        assert writes or not self._data.undo
        return result

    async def aclose(self) -> None:
        """See `KeyValueDatabase.aclose`."""
        self._is_closed = True


class TinyHarness(KeyValueHarness):
    """Stores that share data in memory.

    Attributes:
        data: the data.
    """

    capabilities = KeyValueHarness.capabilities | {Capability.DISCONNECT}

    def __init__(self) -> None:
        super().__init__()
        self.data = TinyData()
        self._connections: list[TinyDatabase] = []

    def make_store(self, settings: StoreSettings, clock: Clock) -> KeyValueStore:
        """Return a store with its own connection."""
        database = TinyDatabase(self.data)
        self._connections.append(database)
        return KeyValueStore(database, settings, clock=clock)

    def open_database(self) -> TinyDatabase:
        """Return another connection."""
        return TinyDatabase(self.data)

    async def disconnect(self) -> None:
        """Lose all connections."""
        for database in self._connections:
            database.is_lost = True
