"""A store in a SQLite file, and the URL that names it."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from wnc_store import Clock, ConfigurationError, StoreSettings, SystemClock
from wnc_store.base import BaseStore
from wnc_store_sqlite._chat import SqliteChatStore
from wnc_store_sqlite._database import Database, run
from wnc_store_sqlite._rooms import SqliteRoomStore


class SqliteStore(BaseStore):
    """A store in a SQLite file, which is made if it is not there.

    Args:
        path: of the file; its folder has to be there.
        settings: as everywhere; the defaults if left out.
        clock: writes the times into records and counts the TTLs; the machine's if left out.
    """

    def __init__(
        self, path: str | os.PathLike[str], settings: StoreSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        settings, clock = settings or StoreSettings(), clock or SystemClock()
        super().__init__(settings)
        self._database = Database(os.fspath(path), settings, clock, self._lifecycle)
        self.rooms = SqliteRoomStore(self._database, settings, clock, self._lifecycle)
        self.chat = SqliteChatStore(self._database, settings, self._lifecycle)

    async def _ping(self) -> None:
        async with self._database.connection() as db:
            await run(db, "SELECT 1 FROM wnc_rooms LIMIT 1")

    async def _close(self) -> None:
        await self._database.close()


def open_sqlite(url: str, settings: StoreSettings, clock: Clock) -> SqliteStore:
    """Return a store for `sqlite:///absolute/path.db` (see `wnc_store.Backend`).

    Raises:
        ConfigurationError: the URL names no file, or something besides.
    """
    return SqliteStore(path_in(url), settings, clock=clock)


def path_in(url: str) -> str:
    """Return the path that a URL names, or raise ConfigurationError."""
    found = re.fullmatch(r"sqlite://(/[^?#]*[^/?#])", url)
    if found is None:
        raise ConfigurationError("a SQLite URL is the absolute path of a file: sqlite:///var/lib/app/rooms.db")
    return unquote(found[1])
