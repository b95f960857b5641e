"""The Redis backend of wnc-store, on redis-py's asyncio client.

It keeps the law of `wnc_store.RoomStore` and `wnc_store.ChatStore`, among all clients of one server that use this
library. What differs: TTLs go by the server's clock, and other writers of the same keys (the Node app) are noticed
between a read and a commit, but can't be kept from overwriting.
"""

try:
    import hiredis as _hiredis  # noqa: F401 - redis-py parses with it when it is there; the extra promises it
    import redis as _redis  # noqa: F401
except ImportError as error:
    _message = f"the Redis backend needs {error.name}: pip install 'wnc-store[redis]'"
    raise ImportError(_message, name=error.name) from error

from wnc_store_redis._store import RedisStore, open_redis

__all__ = ["RedisStore", "open_redis"]
