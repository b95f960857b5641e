"""Open or closed state of a store."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store.errors import StoreClosedError


class Lifecycle:
    """Open or closed state, shared by a store and its components."""

    def __init__(self) -> None:
        self.closed = False
        self._close_callbacks: list[Callable[[], None]] = []

    def add_close_callback(self, callback: Callable[[], None]) -> None:
        """Register a function that is called once when the store is closed."""
        self._close_callbacks.append(callback)

    def close(self) -> None:
        """Close and run the callbacks. Closing again does nothing."""
        if not self.closed:
            self.closed = True
            for callback in self._close_callbacks:
                callback()

    def ensure_open(self) -> None:
        """Raise `StoreClosedError` if the store is closed."""
        if self.closed:
            raise StoreClosedError
