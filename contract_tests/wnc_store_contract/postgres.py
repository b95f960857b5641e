"""The harness of the Postgres backend."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import asyncpg

from wnc_store import StoreSettings
from wnc_store_contract.harness import PATIENT, Capability, Harness
from wnc_store_postgres import PostgresStore

_UNSET = "unset"
_RECORDS = ("wnc_store_rooms", "wnc_store_chats", "wnc_store_leases", "wnc_store_hits")
_TABLES = (*_RECORDS, "wnc_store_active", "wnc_store_messages", "wnc_store_writers")
_IS_LIVE = "(expires_at > clock_timestamp() OR expires_at IS NULL)"
_ADVANCE = "UPDATE {} SET expires_at = expires_at - $2::interval WHERE starts_with(prefix, $1)"
_DELETE = "DELETE FROM {} WHERE starts_with(prefix, $1)"
_COUNT = "SELECT count(*) FROM {}"
_OPTIONS_OF_THE_STORE = {"direct", "pgbouncer", "pool_size"}


class PostgresHarness(Harness):
    """Postgres stores with their own connections, and another connection for raw access.

    Time advances by shifting the stored expiries, without waiting. The harness accesses only rows whose key prefix
    starts with its prefix, and removes them at the end. The tables remain.

    Args:
        url: The URL of a database.
        key_prefix: The beginning of all key prefixes; unique by default. "" uses all rows of the database.
    """

    capabilities = frozenset(
        {
            Capability.CHAT,
            Capability.LISTING,
            Capability.CONNECTIONS,
            Capability.RATE_LIMITS,
            Capability.EVENTS,
            Capability.DISCONNECT,
            Capability.SHARED,
            Capability.RAW,
        }
    )

    def __init__(self, url: str, *, key_prefix: str = _UNSET) -> None:
        self._url = url
        self._application_name = f"wnc-contract-{uuid4().hex}"
        self.key_prefix = f"wnc-contract-{uuid4().hex}:" if key_prefix is _UNSET else key_prefix
        self._database = Database(url)

    def open_store(self, **settings: Any) -> PostgresStore:
        """Return a store with its own connections."""
        return PostgresStore.from_url(self.named(self._url), self.settings(**settings))

    def named(self, url: str) -> str:
        """Return the URL with an application name, by which `disconnect` finds the connections."""
        return f"{url}{'&' if '?' in url else '?'}application_name={self._application_name}"

    def settings(self, **settings: Any) -> StoreSettings:
        """Return settings whose key prefix starts with the prefix of this harness."""
        key_prefix = f"{self.key_prefix}{settings.pop('key_prefix', '')}"
        settings.setdefault("operation_timeout", PATIENT)
        return StoreSettings(key_prefix=key_prefix, **settings)

    async def advance(self, seconds: float) -> None:
        """Shift the expiries of all records to earlier."""
        with suppress(asyncpg.UndefinedTableError):  # the first store that connects creates all tables
            await self._database.run(_in_each(_RECORDS, _ADVANCE), self.key_prefix, timedelta(seconds=seconds))

    async def disconnect(self) -> None:
        """Terminate the connections of this harness's stores."""
        await self._database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", self._application_name
        )

    async def aclose(self) -> None:
        """Delete the rows with the prefix."""
        with suppress(asyncpg.UndefinedTableError):  # no store has connected
            await self._database.run(_in_each(_TABLES, _DELETE), self.key_prefix)
        await self._database.aclose()

    async def describe_existing_data(self) -> str | None:
        """Return how many rows the tables contain, or None if they are empty or do not exist.

        Raises:
            StoreUnavailableError: The server is unreachable.
        """
        async with self.open_store() as store:
            await store.ping()
        counts = ", ".join(f"({_COUNT.format(table)})" for table in (*_RECORDS, "wnc_store_active"))
        rows = sum((await self._database.run(f"SELECT {counts}"))[0])
        return f"the tables of wnc-store are not empty: they contain {rows} rows" if rows else None

    @property
    def raw(self) -> PostgresRaw:
        """Raw access to the records."""
        return PostgresRaw(self._database, self.key_prefix)

    @property
    def raw_hits(self) -> PostgresRaw:
        """Raw access to the counts of rate limits."""
        return self.raw


def _in_each(tables: tuple[str, ...], statement: str) -> str:
    """Return one statement that executes a statement in each table."""
    return f"WITH {', '.join(f'in_{table} AS ({statement.format(table)})' for table in tables)} SELECT"


class PostgresRaw:
    """Raw access by plain SQL."""

    def __init__(self, database: Database, prefix: str) -> None:
        self._database = database
        self._prefix = prefix

    async def get_room(self, room_id: str) -> bytes | None:
        """Return `data` of the room."""
        return await self._database.value(
            f"SELECT data FROM wnc_store_rooms WHERE prefix = $1 AND room_id = $2 AND {_IS_LIVE}",  # noqa: S608
            self._prefix,
            room_id,
        )

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Insert or replace the room, without an expiry and with a new version, and add it to the index."""
        await self._database.run(
            "INSERT INTO wnc_store_rooms (prefix, room_id, data) VALUES ($1, $2, $3) "
            "ON CONFLICT (prefix, room_id) DO UPDATE SET data = excluded.data, version = DEFAULT, expires_at = NULL",
            self._prefix,
            room_id,
            data,
        )
        await self.list_room(room_id)

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return `data` of the messages by position."""
        rows = await self._database.run(
            "SELECT data FROM wnc_store_messages JOIN wnc_store_chats USING (prefix, room_id) "  # noqa: S608
            f"WHERE prefix = $1 AND room_id = $2 AND {_IS_LIVE} ORDER BY position",
            self._prefix,
            room_id,
        )
        return [row["data"] for row in rows]

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Insert a message after the last one, without its id. A new chat never expires."""
        await self._database.run(
            "INSERT INTO wnc_store_chats (prefix, room_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            self._prefix,
            room_id,
        )
        await self._database.run(
            "INSERT INTO wnc_store_messages (prefix, room_id, position, data) "
            "SELECT $1, $2, coalesce(max(position), 0) + 1, $3 FROM wnc_store_messages "
            "WHERE prefix = $1 AND room_id = $2",
            self._prefix,
            room_id,
            entry,
        )

    async def put_hits(self, key: str, data: bytes) -> None:
        """Insert or replace the count, without an expiry."""
        await self._database.run(
            "INSERT INTO wnc_store_hits (prefix, key, count) VALUES ($1, $2, $3) "
            "ON CONFLICT (prefix, key) DO UPDATE SET count = excluded.count, expires_at = NULL",
            self._prefix,
            key,
            data.decode(),
        )

    async def get_hits(self, key: str) -> bytes | None:
        """Return the count."""
        count: str | None = await self._database.value(
            f"SELECT count FROM wnc_store_hits WHERE prefix = $1 AND key = $2 AND {_IS_LIVE}",  # noqa: S608
            self._prefix,
            key,
        )
        return None if count is None else count.encode()

    async def list_room(self, room_id: str) -> None:
        """Insert an entry into the index."""
        await self._database.run(
            "INSERT INTO wnc_store_active (prefix, room_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            self._prefix,
            room_id,
        )


class Database:
    """One connection, which is opened when it is needed and independent of the backend under test."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = [(name, value) for name, value in parse_qsl(parts.query) if name not in _OPTIONS_OF_THE_STORE]
        self._url = parts._replace(query=urlencode(options)).geturl()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def run(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Execute a statement and return its rows. Concurrent callers wait for one another."""
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                # Without a cache, statements also work through a pooler and after a change of the tables.
                self._connection = await asyncpg.connect(self._url, statement_cache_size=0)
            return await self._connection.fetch(statement, *values)

    async def value(self, statement: str, *values: object) -> Any:
        """Execute a statement and return the first value of its first row, or None without a row."""
        rows = await self.run(statement, *values)
        return rows[0][0] if rows else None

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
