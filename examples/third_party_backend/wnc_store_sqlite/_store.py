"""The store, and the function that opens it by URL."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from wnc_store import Clock, ConfigurationError, StoreSettings
from wnc_store.base import KeyValueStore
from wnc_store_sqlite._database import SqliteDatabase


class SqliteStore(KeyValueStore):
    """A store in a SQLite file. Its first use creates the file.

    Args:
        path: The path of the file. Its folder must exist.
        settings: The settings; by default those of `StoreSettings`.
        clock: The clock for times in records and for TTLs; by default the system clock.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: StoreSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        settings = settings or StoreSettings()
        self.database = SqliteDatabase(os.fspath(path), settings.operation_timeout)
        super().__init__(self.database, settings, clock=clock)


def open_sqlite(url: str, settings: StoreSettings, clock: Clock) -> SqliteStore:
    """Return a store for `sqlite:///absolute/path.db` (see `wnc_store.Backend`).

    Raises:
        ConfigurationError: The URL is not the absolute path of a file, or has a host, a query or a fragment.
    """
    return SqliteStore(path_in(url), settings, clock=clock)


def path_in(url: str) -> str:
    """Return the file path of a URL. Raises `ConfigurationError` as `open_sqlite` does."""
    match = re.fullmatch(r"(?s)sqlite://(?!.*(?:%00|\0))(/[^?#]*[^/?#])", url)
    if match is None:
        raise ConfigurationError("a SQLite URL must be an absolute path, as in sqlite:///var/lib/app/rooms.db")
    return unquote(match[1])
