"""The Redis backend of wnc-store, on redis-py's asyncio client.

The backend keeps the contract of `wnc_store.RoomStore` and `wnc_store.ChatStore` among all clients of this library on
one server. Two things differ. TTLs use the server's clock. Commits detect intervening writes by the Node app, but the
Node app can overwrite a commit.
"""

from importlib.util import find_spec

for _needed in ("redis", "hiredis"):  # the extra `redis` installs both
    if find_spec(_needed) is None:
        _message = f"the Redis backend needs {_needed}; install it: pip install 'wnc-store[redis]'"
        raise ImportError(_message, name=_needed)

from wnc_store_redis.store import RedisStore, open_redis  # noqa: E402 - after the check above

__all__ = ["RedisStore", "open_redis"]
