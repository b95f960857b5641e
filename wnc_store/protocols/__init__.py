"""The contract: the guarantees of every backend. The contract suite (`wnc_store_contract`) checks them.

Unless a method states otherwise:

- **Ids** have 1-128 characters. Any other id raises `InvalidIdError` before anything is sent. Room ids consist of
  `A-Z a-z 0-9 _ - . :`. Connection ids, and the keys of connections and rate limits, may also contain
  `% / @ | + = ~`, as in `fe80::1%eth0`. User ids and message ids may contain any character except control characters
  and lone surrogates, and no whitespace at either end. Ids are compared character by character, without normalization.
- **Host**: the user whose id is `host_id` is the host. Methods that write `host_id`, or that write this user, also set
  `is_host` of this user. Other users may have `is_host`, too.
- **Depth**: arrays and objects in extra fields and in values of app events are nested at most 64 levels deep. A deeper
  value raises `ValueError`. Deeper values that another client stored can be read, and later writes preserve them.
- **Atomicity**: a method has its full effect or none, also with concurrent callers and other clients.
- **Consistency**: once a write has returned, every later call from any client of the same data sees it.
- **Fidelity**: values are read back exactly as they were written: every character of a text and every digit of an
  integer. Every operation preserves fields that the models do not declare.
- **Cancellation**: a cancelled call raises `CancelledError`. Its write takes effect completely or not at all.
- **Expiry**: every write renews the full TTL of the records it wrote. Reads never extend a TTL. A record whose TTL has
  ended does not exist.
- **Errors**: an error from a write means that nothing was written, except `OutcomeUnknownError`. Every method may raise
  `StoreUnavailableError` and its subclasses, `ConfigurationError` if the server rejects the credentials or lacks a
  required configuration, `StoreClosedError` after `aclose()`, `CorruptRecordError` if a stored record is invalid, and
  other subclasses of `StoreError` that are specific to the server. The attributes of an error contain the ids of the
  call, and the limit and the value that exceeds it. A method that the backend does not support raises
  `NotSupportedError`.
- **Limits**: a write of a value above a limit of the settings raises `LimitExceededError`. Stored values above a limit
  can still be read, and later writes may preserve them.

TTLs, leases and windows are measured in whole milliseconds, by the server's clock if the backend has a server. The
memory backend measures them by `Clock.monotonic_ms`.
"""

from wnc_store.protocols.chat import ChatReader, ChatStore
from wnc_store.protocols.limiters import ConnectionCounter, RateLimiter
from wnc_store.protocols.rooms import RoomReader, RoomStore
from wnc_store.protocols.store import Backend, Store

__all__ = [
    "Backend",
    "ChatReader",
    "ChatStore",
    "ConnectionCounter",
    "RateLimiter",
    "RoomReader",
    "RoomStore",
    "Store",
]
