"""A SQLite backend for wnc-store: one file, any number of processes on the same machine.

It satisfies the contract of a whole store, with these differences from a server:

- Expiry uses the wall clock, the only clock that several processes share. Setting it back extends the TTLs.
- Subscribers poll, so that events of other processes arrive up to 0.1 s late if the rooms are idle.
- Transactions run one after another, and each change of a chat writes the whole chat.
"""

from wnc_store_sqlite._database import SqliteDatabase
from wnc_store_sqlite._store import SqliteStore, open_sqlite

__all__ = ["SqliteDatabase", "SqliteStore", "open_sqlite"]
