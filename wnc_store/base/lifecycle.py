"""Whether a store is open."""

from __future__ import annotations

from wnc_store.errors import StoreClosedError


class Lifecycle:
    """Whether a store is open; shared by the store and its parts."""

    def __init__(self) -> None:
        self.closed = False

    def ensure_open(self) -> None:
        """Return if the store is open.

        Raises:
            StoreClosedError: it is not.
        """
        if self.closed:
            raise StoreClosedError
