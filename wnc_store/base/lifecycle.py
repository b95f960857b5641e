"""Whether a store is open."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store.errors import StoreClosedError


class Lifecycle:
    """Whether a store is open; shared by the store and its parts."""

    def __init__(self) -> None:
        self.closed = False
        self._close_callbacks: list[Callable[[], None]] = []

    def add_close_callback(self, call: Callable[[], None]) -> None:
        """Have a function called when the store is closed."""
        self._close_callbacks.append(call)

    def close(self) -> None:
        """Close, once."""
        if not self.closed:
            self.closed = True
            for call in self._close_callbacks:
                call()

    def ensure_open(self) -> None:
        """Return if the store is open.

        Raises:
            StoreClosedError: it is not.
        """
        if self.closed:
            raise StoreClosedError
