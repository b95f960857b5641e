"""The store, and the function that opens it by URL."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from wnc_store import Clock, ConfigurationError, StoreSettings, SystemClock
from wnc_store.base import BaseStore, Lifecycle
from wnc_store_sqlite._chat import SqliteChatStore
from wnc_store_sqlite._database import Database, run
from wnc_store_sqlite._rooms import SqliteRoomStore


class SqliteStore(BaseStore):
    """A store in a SQLite file. Its first use creates the file.

    Args:
        path: The path of the file. Its folder must exist.
        settings: The settings; by default those of `StoreSettings`.
        clock: The clock for times in records and for TTLs; by default the system clock.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: StoreSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        settings, clock, lifecycle = settings or StoreSettings(), clock or SystemClock(), Lifecycle()
        self._database = Database(os.fspath(path), settings, clock, lifecycle)
        self.rooms = SqliteRoomStore(self._database, settings, clock, lifecycle)
        super().__init__(settings, lifecycle, chat=SqliteChatStore(self._database, settings, lifecycle))

    async def _ping(self) -> None:
        async with self._database.connection() as db:
            await run(db, "SELECT 1 FROM wnc_rooms LIMIT 1")

    async def _close(self) -> None:
        await self._database.close()


def open_sqlite(url: str, settings: StoreSettings, clock: Clock) -> SqliteStore:
    """Return a store for `sqlite:///absolute/path.db` (see `wnc_store.Backend`).

    Raises:
        ConfigurationError: The URL is not the absolute path of a file, or has a host, a query or a fragment.
    """
    return SqliteStore(path_in(url), settings, clock=clock)


def path_in(url: str) -> str:
    """Return the file path of a URL.

    Raises:
        ConfigurationError: The URL is not the absolute path of a file.
    """
    match = re.fullmatch(r"sqlite://(/[^?#]*[^/?#])", url)
    if match is None:
        raise ConfigurationError(
            "a SQLite URL must be the absolute path of a file, as in sqlite:///var/lib/app/rooms.db"
        )
    return unquote(match[1])
