"""The Postgres backend of wnc-store, on asyncpg.

The backend keeps the contract of `wnc_store.RoomStore` and `wnc_store.ChatStore` among all clients of one database.
Each write is one transaction: a call of a function that the backend has created in the database. TTLs use the server's
clock.
"""

from importlib.util import find_spec

if find_spec("asyncpg") is None:  # the extra `postgres` installs it
    _message = "the Postgres backend needs asyncpg; install it: pip install 'wnc-store[postgres]'"
    raise ImportError(_message, name="asyncpg")

from wnc_store_postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
