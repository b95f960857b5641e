"""Open or closed state of a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from wnc_store.base.ids import IS_VALID_ID, IdKind, check_id
from wnc_store.errors import StoreClosedError, StoreError


class Lifecycle:
    """Open or closed state, shared by a store and its components."""

    def __init__(self) -> None:
        self.closed = False
        self._is_checked = False
        self._close_callbacks: list[Callable[[], None]] = []

    def add_close_callback(self, callback: Callable[[], None]) -> None:
        """Register a function that is called once when the store is closed."""
        self._close_callbacks.append(callback)

    def close(self) -> None:
        """Close and run the callbacks. Closing again does nothing."""
        if not self.closed:
            self.closed, self._is_checked = True, False
            for callback in self._close_callbacks:
                callback()

    def check(self, *ids: tuple[IdKind, object]) -> None:
        """Check the store as `ensure_open` does, and each id of a call as `check_id` does."""
        if not self._is_checked:
            self.ensure_open()
        for kind, value in ids:
            if type(value) is not str or not IS_VALID_ID[kind](value):
                check_id(kind, value)

    def ensure_open(self) -> None:
        """Raise `StoreClosedError` if the store is closed, and `StoreError` if it is not used with asyncio."""
        if self._is_checked:
            return
        if self.closed:
            raise StoreClosedError
        ensure_asyncio()
        self._is_checked = True


def ensure_asyncio() -> None:
    """Check that the caller runs in asyncio.

    Raises:
        StoreError: No event loop of asyncio is running, as under Trio.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        message = "wnc-store requires asyncio, and no event loop of asyncio is running; Trio is not supported"
        raise StoreError(message) from None
