"""The in-memory TTL backend of wnc-store, for tests, offline work and a single process.

It keeps the law of `wnc_store.RoomStore` and `wnc_store.ChatStore`. What differs from a server: the data lives and dies
with the process, and a store belongs to one event loop (it is not thread-safe).
"""

from wnc_store_memory.database import MemoryDatabase
from wnc_store_memory.store import MemoryStore, open_memory

__all__ = ["MemoryDatabase", "MemoryStore", "open_memory"]
