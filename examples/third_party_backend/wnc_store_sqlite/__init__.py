"""A SQLite backend for wnc-store: one file, any number of processes on the same machine.

It keeps the law of `wnc_store.RoomStore` and `wnc_store.ChatStore`. What differs from a server: TTLs go by the wall
clock, the only one that several processes share, so whoever sets it back lengthens lives. A store belongs to one event
loop, and has to be closed: aiosqlite's thread keeps the process running until then.
"""

from wnc_store_sqlite._store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
