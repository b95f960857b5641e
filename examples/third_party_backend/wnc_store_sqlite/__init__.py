"""A SQLite backend for wnc-store: one file, any number of processes on the same machine.

It satisfies the contract of `wnc_store.RoomStore` and `wnc_store.ChatStore`, with these differences from a server:

- TTLs use the wall clock, the only clock that several processes share. Setting it back extends the TTLs.
- A store belongs to one event loop.
- A store must be closed, because aiosqlite's thread keeps the process running until then.
"""

from wnc_store_sqlite._store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
