"""The plug between the contract suite and a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum
from typing import Any, Protocol

from wnc_store import NotSupportedError, Store


class Capability(StrEnum):
    """What a backend may leave out. A part that is not declared must raise `NotSupportedError`."""

    CHAT = "chat"
    """`store.chat`."""

    LISTING = "listing"
    """`active_room_ids` and `sweep_active_rooms`."""

    CONNECTIONS = "connections"
    """`store.connections`."""

    RATE_LIMITS = "rate_limits"
    """`store.rate_limits`."""

    EVENTS = "events"
    """`store.events`, and the setting `publish_changes`."""

    DISCONNECT = "disconnect"
    """`Harness.disconnect`: events arrive over connections that can be lost. Without it, these clauses do not run."""

    SHARED = "shared"
    """A second `open_store` is a second client of the same data. Without it, clauses on two clients do not run."""

    RAW = "raw"
    """`Harness.raw`: records are stored as Node's JSON and can be reached behind the store's back. Without it, the
    clauses on the wire format do not run."""


class RawAccess(Protocol):
    """The stored records, behind the store's back, as another writer of the same keys sees them."""

    async def get_room(self, room_id: str) -> bytes | None:
        """Return what is stored as the room."""
        ...

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Store these bytes as the room, listed, without any TTL: as Node's plain SET and SADD leave it.

        The room never expires, however far the harness advances, and the store tells `timedelta.max` as its TTL.
        """
        ...

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return the stored entries of the chat, oldest first."""
        ...

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Append these bytes to the chat, as Node's RPUSH does."""
        ...

    async def list_room(self, room_id: str) -> None:
        """Add an id to the index of active rooms, whether the room lives or not."""
        ...


class RawHits(Protocol):
    """The counts of the rate limits, behind the store's back: the ASCII digits of an integer, if they are a count."""

    async def put_hits(self, key: str, data: bytes) -> None:
        """Store these bytes as the count of a key, without any TTL: it never expires, until a hit begins its window."""
        ...

    async def get_hits(self, key: str) -> bytes | None:
        """Return what is stored as the count of a key: ASCII digits, also where the backend keeps a number."""
        ...


class Harness(ABC):
    """A fresh, empty place for data, and a hand on its clock. One is made for each clause.

    Attributes:
        capabilities: what the backend offers beyond rooms; a class attribute. What is left out must not work.
    """

    capabilities: frozenset[Capability] = frozenset()

    @abstractmethod
    def open_store(self, **settings: Any) -> Store:
        """Return a store on this harness's data: empty at first; a second call is a second client of the same data.

        Args:
            settings: fields of `StoreSettings`; the others have their defaults.
        """

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Let time pass for the data, without sleeping where that can be."""

    async def aclose(self) -> None:  # noqa: B027 - a harness may have nothing to remove
        """Remove the data; called once, after the stores are closed."""

    async def describe_existing_data(self) -> str | None:
        """Say what of other people's is where this harness puts its data, or None: `wnc-store verify` refuses that."""
        return None

    async def disconnect(self) -> None:
        """Cut the connections over which the stores of this harness get events; needs `Capability.DISCONNECT`."""
        message = f"{type(self).__name__} can't cut connections"
        raise NotSupportedError(message)

    @property
    def raw(self) -> RawAccess:
        """The stored records; needs `Capability.RAW`."""
        message = f"{type(self).__name__} has no raw access"
        raise NotSupportedError(message)

    @property
    def raw_hits(self) -> RawHits:
        """The counts of the rate limits; needs `Capability.RAW` and `Capability.RATE_LIMITS`."""
        message = f"{type(self).__name__} has no raw access to rate limits"
        raise NotSupportedError(message)


chosen_harness: ContextVar[Callable[[], Harness]] = ContextVar("chosen_harness")
"""What makes the harnesses of a contract that is run by `verify`."""
