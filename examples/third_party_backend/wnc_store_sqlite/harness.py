"""The harness that runs the contract suite on this backend. Requires the extra `test`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from wnc_store import Clock, ConfigurationError, StoreSettings
from wnc_store_contract import Capability
from wnc_store_contract.key_value import KeyValueHarness
from wnc_store_sqlite._database import SqliteDatabase
from wnc_store_sqlite._store import SqliteStore, path_in


class SqliteHarness(KeyValueHarness):
    """Stores on a new file in a temporary folder, with a manual clock.

    Args:
        url: A store URL. The temporary folder is created next to its file, which is not touched. By default the folder
            is created in the system's directory for temporary files.
        key_prefix: The beginning of every key prefix, which `wnc-store verify --key-prefix` sets.

    Raises:
        ConfigurationError: The URL is invalid, or the folder cannot be created.
    """

    capabilities = KeyValueHarness.capabilities | {Capability.DISCONNECT}

    def __init__(self, url: str | None = None, *, key_prefix: str = "") -> None:
        super().__init__(key_prefix=key_prefix)
        parent = None if url is None else Path(path_in(url)).parent
        try:
            self._folder = TemporaryDirectory(prefix="wnc-contract-", dir=parent)
        except OSError as error:
            raise ConfigurationError(f"cannot create a folder in {parent}: {error.strerror}") from error
        self._path = f"{self._folder.name}/rooms.db"
        self._stores: list[SqliteStore] = []

    def make_store(self, settings: StoreSettings, clock: Clock) -> SqliteStore:
        """Return a store with its own connection."""
        self._stores.append(SqliteStore(self._path, settings, clock=clock))
        return self._stores[-1]

    def open_database(self) -> SqliteDatabase:
        """Return another connection."""
        return SqliteDatabase(self._path, timedelta(seconds=30))

    async def disconnect(self) -> None:
        """Interrupt the operations of the stores, and close their connections."""
        for store in self._stores:
            if not store.closed:
                await store.database.disconnect()

    async def aclose(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()
