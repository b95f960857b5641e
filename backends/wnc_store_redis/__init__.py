"""The Redis backend of wnc-store, on redis-py's asyncio client.

It keeps the law of `wnc_store.RoomStore` and `wnc_store.ChatStore`, among all clients of one server that use this
library. What differs: TTLs go by the server's clock, and other writers of the same keys (the Node app) are noticed
between a read and a commit, but can't be kept from overwriting.
"""

from importlib.util import find_spec

for _needed in ("redis", "hiredis"):  # redis-py parses with hiredis when it is there; the extra promises it
    if find_spec(_needed) is None:
        _message = f"the Redis backend needs {_needed}: pip install 'wnc-store[redis]'"
        raise ImportError(_message, name=_needed)

from wnc_store_redis.store import RedisStore, open_redis  # noqa: E402 - after the check above

__all__ = ["RedisStore", "open_redis"]
