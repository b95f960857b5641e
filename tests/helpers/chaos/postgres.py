"""A PostgreSQL server for loads, whose triggers log each change in the transaction that makes it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from chaos.ledger import Ledger
from chaos.targets import Target
from postgres_database import PATIENT, Connection, connected, create_tables
from postgres_server import PostgresServer, postgres_server
from waiting import wait_until
from wnc_store import RoomEvent, open_store

_LOG = """
CREATE TABLE log (id bigserial PRIMARY KEY, kind text NOT NULL, key text NOT NULL, value bytea);
CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE TG_ARGV[0]
    WHEN 'room' THEN
        INSERT INTO log (kind, key, value) VALUES ('room', coalesce(NEW.room_id, OLD.room_id), NEW.data);
    WHEN 'message' THEN
        INSERT INTO log (kind, key, value) VALUES ('message', NEW.room_id, NEW.data);
    WHEN 'chat' THEN
        INSERT INTO log (kind, key) VALUES ('message', OLD.room_id);
    WHEN 'lease' THEN
        INSERT INTO log (kind, key, value) VALUES (
            CASE TG_OP WHEN 'DELETE' THEN 'release' ELSE 'acquire' END,
            coalesce(NEW.key, OLD.key), convert_to(coalesce(NEW.connection_id, OLD.connection_id), 'UTF8'));
    WHEN 'hit' THEN
        INSERT INTO log (kind, key) VALUES ('hit', NEW.key);
    END CASE;
    RETURN NULL;
END $$;
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON wnc_store_rooms FOR EACH ROW EXECUTE FUNCTION log('room');
CREATE TRIGGER log AFTER INSERT ON wnc_store_messages FOR EACH ROW EXECUTE FUNCTION log('message');
CREATE TRIGGER log AFTER DELETE ON wnc_store_chats FOR EACH ROW EXECUTE FUNCTION log('chat');
CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON wnc_store_leases FOR EACH ROW EXECUTE FUNCTION log('lease');
CREATE TRIGGER log AFTER INSERT OR UPDATE ON wnc_store_hits FOR EACH ROW EXECUTE FUNCTION log('hit');
"""
"""All changes of a key are made under its lock, so their numbers are in the order of the changes."""

_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class PostgresTarget:
    """A PostgreSQL server with the tables and the log."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._server.port

    def url(self, port: int) -> str:
        """Return the URL of the database `postgres`."""
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    async def prepare(self) -> None:
        """Create the tables and the log."""
        await create_tables(self._server.url())
        async with self._connected() as connection:
            await connection.execute(_LOG)

    async def ledger(self) -> Ledger:
        """Read the log."""
        async with self._connected() as connection:

            async def is_alone() -> bool:
                return await connection.fetchval(_OTHERS) == 0

            await wait_until(is_alone)
            ledger = Ledger()
            for row in await connection.fetch("SELECT kind, key, value FROM log ORDER BY id"):
                _enter(ledger, row["kind"], row["key"], row["value"])
            return ledger

    async def list_rooms(self, room_ids: Iterable[str]) -> None:
        """Insert into the index."""
        async with self._connected() as connection:
            await connection.execute(
                "INSERT INTO wnc_store_active (prefix, room_id) SELECT '', unnest($1::text[])", list(room_ids)
            )

    async def find_rooms(self, room_ids: Sequence[str]) -> tuple[set[str], set[str]]:
        """Select both in one statement."""
        async with self._connected() as connection:
            row = await connection.fetchrow(
                "SELECT ARRAY(SELECT room_id FROM wnc_store_active), "
                "ARRAY(SELECT room_id FROM wnc_store_rooms WHERE room_id = ANY ($1))",
                room_ids,
            )
        assert row is not None
        return set(row[0]), set(row[1])

    @asynccontextmanager
    async def observe(self, room_id: str) -> AsyncGenerator[AsyncIterator[RoomEvent]]:
        """Subscribe with another store."""
        async with open_store(self._server.url(), settings=PATIENT) as store, store.events.subscribe(room_id) as events:
            yield events

    def _connected(self) -> AbstractAsyncContextManager[Connection]:
        return connected(self._server.url())


def _enter(ledger: Ledger, kind: str, key: str, value: bytes | None) -> None:
    """Record a row of the log."""
    match kind:
        case "room":
            ledger.rooms.setdefault(key, []).append(value and json.loads(value))
        case "message":
            ledger.chats.setdefault(key, []).append(value and json.loads(value))
        case "hit":
            ledger.steps[f"rl:{key}"] = ledger.steps.get(f"rl:{key}", 0) + 1
        case _:
            states = ledger.leases.setdefault(key, [])
            before = states[-1] if states else frozenset[str]()
            ids = {(value or b"").decode()}
            states.append(before | ids if kind == "acquire" else before - ids)


@asynccontextmanager
async def postgres_target() -> AsyncGenerator[Target]:
    """Run a new PostgreSQL server."""
    with postgres_server() as server:
        target = PostgresTarget(server)
        await target.prepare()
        yield target
