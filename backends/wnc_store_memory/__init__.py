"""In-memory backend of wnc-store, for tests, offline development and apps with a single process.

The backend fulfils the whole contract. Unlike on a server, the data is lost when the process ends, and a store belongs
to one event loop and is not thread-safe.
"""

from wnc_store_memory.database import MemoryDatabase
from wnc_store_memory.store import MemoryStore, open_memory

__all__ = ["MemoryDatabase", "MemoryStore", "open_memory"]
