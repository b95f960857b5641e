"""The harness that runs the contract suite on this backend. Requires the extra `test`."""

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
    """Stores on a new file in a temporary folder, with a manual clock.

    Args:
        url: A store URL. The temporary folder is created next to its file, which is not touched. By default the folder
            is created in the system's directory for temporary files.
        key_prefix: The beginning of every key prefix, which `wnc-store verify --key-prefix` sets.

    Raises:
        ConfigurationError: The URL is invalid, or the folder cannot be created.
    """

    capabilities = frozenset({Capability.CHAT, Capability.LISTING, Capability.SHARED, Capability.RAW})

    def __init__(self, url: str | None = None, *, key_prefix: str = "") -> None:
        parent = None if url is None else Path(path_in(url)).parent
        try:
            self._folder = TemporaryDirectory(prefix="wnc-contract-", dir=parent)
        except OSError as error:
            raise ConfigurationError(f"cannot create a folder in {parent}: {error.strerror}") from error
        self._path = Path(self._folder.name) / "rooms.db"
        self._key_prefix = key_prefix
        self._clock = ManualClock()

    def open_store(self, **settings: Any) -> SqliteStore:
        """Return a store with its own connection."""
        key_prefix = f"{self._key_prefix}{settings.pop('key_prefix', '')}"
        return SqliteStore(self._path, StoreSettings(key_prefix=key_prefix, **settings), clock=self._clock)

    async def advance(self, seconds: float) -> None:
        """Advance the clock that all stores share."""
        self._clock.advance(seconds)

    async def aclose(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()

    @property
    def raw(self) -> SqliteRaw:
        """Raw access to the rows."""
        return SqliteRaw(self._path, self._key_prefix)


class SqliteRaw:
    """Raw access to the rows, with a new connection for each call."""

    def __init__(self, path: Path, key_prefix: str) -> None:
        self._path = path
        self._key_prefix = key_prefix

    async def get_room(self, room_id: str) -> bytes | None:
        """Return the bytes of a room, even if it has expired."""
        rows = await self._run("SELECT data FROM wnc_rooms WHERE prefix = :prefix AND id = :id", id=room_id)
        return rows[0][0] if rows else None

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Store a room that never expires."""
        await self._run("REPLACE INTO wnc_rooms VALUES (:prefix, :id, :data, :never)", id=room_id, data=data)

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return the bytes of the chat's messages."""
        rows = await self._run(
            "SELECT data FROM wnc_messages WHERE prefix = :prefix AND room_id = :id ORDER BY number", id=room_id
        )
        return [data for (data,) in rows]

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Append a message that expires with its chat; the first message of a chat never expires."""
        await self._run(
            """
            INSERT INTO wnc_messages (prefix, room_id, data, expires_ms)
            SELECT :prefix, :id, :data, coalesce(max(expires_ms), :never) FROM wnc_messages
            WHERE prefix = :prefix AND room_id = :id
            """,
            id=room_id,
            data=entry,
        )

    async def list_room(self, room_id: str) -> None:
        """Insert an expired row unless the room exists, because the table of rooms is also the index."""
        await self._run("INSERT OR IGNORE INTO wnc_rooms VALUES (:prefix, :id, x'', 0)", id=room_id)

    async def _run(self, sql: str, **values: object) -> list[Any]:
        async with aiosqlite.connect(self._path, isolation_level=None) as db:
            await db.executescript(SCHEMA)  # in case no store has used the file yet
            return list(await db.execute_fetchall(sql, {"prefix": self._key_prefix, "never": NEVER, **values}))
