"""The plug between the contract suite and this backend. Needs the extra `test`."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiosqlite

from wnc_store import ConfigurationError, ManualClock, StoreSettings
from wnc_store_contract import Capability, Harness
from wnc_store_sqlite._database import NEVER, SCHEMA
from wnc_store_sqlite._store import SqliteStore, path_in


class SqliteHarness(Harness):
    """Stores on a new file in a folder of its own, with a clock that is moved by hand.

    Args:
        url: where to try it: the folder is made beside the file that it names, which is left alone. If left out, the
            folder is where the system keeps temporary files.

    Raises:
        ConfigurationError: the URL is wrong, or there is no folder to make one in.
    """

    capabilities = frozenset(Capability) - {
        Capability.CONNECTIONS,
        Capability.RATE_LIMITS,
        Capability.EVENTS,
        Capability.DISCONNECT,
    }

    def __init__(self, url: str | None = None) -> None:
        beside = None if url is None else Path(path_in(url)).parent
        try:
            self._folder = TemporaryDirectory(prefix="wnc-contract-", dir=beside)
        except OSError as error:
            raise ConfigurationError(f"no folder can be made in {beside}: {error.strerror}") from error
        self._path = Path(self._folder.name) / "rooms.db"
        self._clock = ManualClock()

    def open_store(self, **settings: Any) -> SqliteStore:
        """Return a store with a connection of its own."""
        return SqliteStore(self._path, StoreSettings(**settings), clock=self._clock)

    async def advance(self, seconds: float) -> None:
        """Move the clock that all the stores share."""
        self._clock.advance(seconds)

    async def aclose(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()

    @property
    def raw(self) -> SqliteRaw:
        """The rows."""
        return SqliteRaw(self._path)


class SqliteRaw:
    """The rows as another program sees them, with a connection for each call."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def get_room(self, room_id: str) -> bytes | None:
        """Return the bytes of a row, expired or not."""
        rows = await self._run("SELECT data FROM wnc_rooms WHERE prefix = '' AND id = :id", id=room_id)
        return rows[0][0] if rows else None

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Put a row that never expires."""
        await self._run("REPLACE INTO wnc_rooms VALUES ('', :id, :data, :never)", id=room_id, data=data)

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return the bytes of the chat's rows."""
        rows = await self._run(
            "SELECT data FROM wnc_messages WHERE prefix = '' AND room_id = :id ORDER BY number", id=room_id
        )
        return [data for (data,) in rows]

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Add a row that expires with the rest of its chat; the first one never does."""
        await self._run(
            """
            INSERT INTO wnc_messages (prefix, room_id, data, expires_ms)
            SELECT '', :id, :data, coalesce(max(expires_ms), :never) FROM wnc_messages WHERE room_id = :id
            """,
            id=room_id,
            data=entry,
        )

    async def list_room(self, room_id: str) -> None:
        """Add a row that has expired already, if there is none: the table of rooms is the index, too."""
        await self._run("INSERT OR IGNORE INTO wnc_rooms VALUES ('', :id, x'', 0)", id=room_id)

    async def _run(self, sql: str, **values: object) -> list[Any]:
        async with aiosqlite.connect(self._path, isolation_level=None) as db:
            await db.executescript(SCHEMA)  # no store may have used the file yet
            return list(await db.execute_fetchall(sql, {"never": NEVER, **values}))
