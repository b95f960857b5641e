"""Writers: identities whose last write the server remembers (see `wnc_store_writers`)."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

_MAX_AGE = 3600.0
"""Seconds after which a writer is replaced. The server forgets writers after a day."""


class Writer:
    """An identity that is used by one write at a time.

    Attributes:
        id: the id.
        sequence: the number of writes that were committed.
    """

    __slots__ = ("created_at", "id", "sequence")

    def __init__(self) -> None:
        self.id: UUID = uuid4()
        self.sequence = 0
        self.created_at = asyncio.get_running_loop().time()


class Writers:
    """The writers of a store that no write uses at the moment."""

    def __init__(self) -> None:
        self._free: list[Writer] = []

    def take(self) -> Writer:
        """Return a writer that nobody else uses."""
        oldest = asyncio.get_running_loop().time() - _MAX_AGE
        while self._free:
            writer = self._free.pop()
            if writer.created_at > oldest:
                return writer
        return Writer()

    def give_back(self, writer: Writer) -> None:
        """Let another write use a writer whose last write has a known outcome."""
        self._free.append(writer)

    def clear(self) -> list[UUID]:
        """Remove the writers, and return their ids."""
        ids, self._free = [writer.id for writer in self._free], []
        return ids
