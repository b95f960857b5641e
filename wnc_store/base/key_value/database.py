"""Interface of a key-value database with transactions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class KeyValueEntry(NamedTuple):
    """A stored value, and when it expires, in milliseconds since the epoch. None means never."""

    value: bytes
    expires_ms: int | None

    def __repr__(self) -> str:
        """Return a text without the value, which tools that record local variables must not record."""
        return f"<{len(self.value)} bytes, expires_ms={self.expires_ms}>"


class KeyValueTransaction(Protocol):
    """The entries of a database inside a transaction. An entry has a space and a key; both are text without NUL.

    Return expired entries like others: the caller checks the expiry, and deletes expired entries.
    """

    def get(self, space: str, key: str, /) -> KeyValueEntry | None:
        """Return an entry, or None."""
        ...

    def put(self, space: str, key: str, entry: KeyValueEntry, /) -> None:
        """Insert or replace an entry."""
        ...

    def delete(self, space: str, key: str, /) -> None:
        """Delete an entry, if it exists."""
        ...

    def scan(self, space: str, after: str, limit: int, /) -> Sequence[tuple[str, KeyValueEntry]]:
        """Return the first `limit` entries of a space with a key greater than `after`, in the order of their keys.

        Keys are ordered by their characters, which are ASCII. Return fewer entries only if there are no others.
        """
        ...


class KeyValueDatabase(ABC):
    """A key-value database with serializable transactions, for one `KeyValueStore`."""

    @abstractmethod
    async def transact(self, function: Callable[[KeyValueTransaction], T], /, *, writes: bool) -> T:
        """Call a function in a transaction, which is rolled back if the function raises, and return its result.

        The function does not block and does not await. It may run in another thread, and more than once if the
        database rolled its transaction back. If `writes` is false, it changes nothing. If the caller is cancelled, the
        whole transaction takes effect, or nothing. Limit the call to `operation_timeout`, because the store does not.

        Raises:
            StoreUnavailableError: The database is not available, or did not reply in time (`StoreTimeoutError`).
                Nothing was changed, except if the error is an `OutcomeUnknownError`.
            StoreClosedError: The database was closed.
            StoreError: Any other error of the driver, or the database belongs to another event loop or process.
        """

    def check_close(self) -> None:  # noqa: B027 - most databases can be closed anywhere
        """Raise `StoreError` if the database can't be closed here, for example in its own event loop."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections after the running transaction. If it fails or is cancelled, it is called again."""
