"""The adapter between the contract suite and a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from wnc_store import NotSupportedError, Store

PATIENT = timedelta(seconds=30)
"""`operation_timeout` of stores on a disk, which a busy machine does not reach. A clause may last longer."""


class Capability(StrEnum):
    """Optional capabilities of a backend. Methods of an undeclared one must raise `NotSupportedError`."""

    CHAT = "chat"
    """`store.chat`."""

    LISTING = "listing"
    """`active_room_ids`, `active_rooms` and `sweep_active_rooms`."""

    CONNECTIONS = "connections"
    """`store.connections`."""

    RATE_LIMITS = "rate_limits"
    """`store.rate_limits`."""

    EVENTS = "events"
    """`store.events`, and the setting `publish_changes`."""

    DISCONNECT = "disconnect"
    """`Harness.disconnect`: the stores use connections that can be lost. Otherwise its clauses are skipped, and
    `wnc-store verify --faults` is refused."""

    RESTART = "restart"
    """`Harness.restart`: the server can be restarted. `wnc-store verify --faults` uses it; no clause needs it."""

    SHARED = "shared"
    """Each `open_store` returns another client of the same data. Otherwise clauses with two clients are skipped."""

    RAW = "raw"
    """`Harness.raw`: records are stored as the Node app's JSON and can be accessed without the store. Otherwise
    clauses about the wire format are skipped."""


class RawAccess(Protocol):
    """Access to the stored records that bypasses the store, as another writer of the same keys has it."""

    async def get_room(self, room_id: str) -> bytes | None:
        """Return the stored bytes of the room."""
        ...

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Store bytes as the room, without a TTL, and add it to the index, as plain SET and SADD do.

        The room never expires, however far the harness advances, and the store returns `timedelta.max` as its TTL.
        """
        ...

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return the stored entries of the chat, oldest first."""
        ...

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Append bytes to the chat, as RPUSH does."""
        ...

    async def list_room(self, room_id: str) -> None:
        """Add an id to the index of active rooms, even if the room does not exist."""
        ...


class RawHits(Protocol):
    """Access to the counts of rate limits that bypasses the store. A valid count is an integer in ASCII digits."""

    async def put_hits(self, key: str, data: bytes) -> None:
        """Store bytes as the count of a key, without a TTL. It does not expire until a hit starts its window."""
        ...

    async def get_hits(self, key: str) -> bytes | None:
        """Return the count of a key in ASCII digits, even if the backend stores a number."""
        ...


class Harness(ABC):
    """An empty storage location and control over its clock. Each clause gets a new harness.

    Attributes:
        capabilities: Features that the backend supports beyond rooms; a class attribute that never changes. List each
            capability: a set computed from all of `Capability` would silently declare those that are added later.
    """

    capabilities: frozenset[Capability] = frozenset()

    @abstractmethod
    def open_store(self, **settings: Any) -> Store:
        """Return a new client of this harness's data, which is empty at first.

        Args:
            **settings: Fields of `StoreSettings`; the other fields have their defaults.
        """

    @abstractmethod
    async def advance(self, seconds: float) -> None:
        """Advance the time for the data, without sleeping if possible."""

    async def aclose(self) -> None:  # noqa: B027 - a harness may have nothing to remove
        """Remove the data. Called once, after the stores are closed."""

    async def describe_existing_data(self) -> str | None:
        """Return a description of data that exists already in the storage location, or None.

        `wnc-store verify` refuses to run if there is any, unless `--allow-nonempty` is given.
        """
        return None

    async def disconnect(self) -> None:
        """Close all connections of this harness's stores, as a network failure does; for `Capability.DISCONNECT`.

        Running calls are interrupted: their requests or their replies are lost. The stores are not closed and may
        reconnect at once.
        """
        message = (
            f"{type(self).__name__} does not implement disconnect(); declare Capability.DISCONNECT only if it does"
        )
        raise NotSupportedError(message)

    async def restart(self) -> None:
        """Stop the server without warning and start it again with all acknowledged writes; for `Capability.RESTART`."""
        message = f"{type(self).__name__} does not implement restart(); declare Capability.RESTART only if it does"
        raise NotSupportedError(message)

    @property
    def raw(self) -> RawAccess:
        """Raw access to the stored records; for `Capability.RAW`."""
        message = f"{type(self).__name__} does not implement raw; declare Capability.RAW only if it does"
        raise NotSupportedError(message)

    @property
    def raw_hits(self) -> RawHits:
        """Raw access to the counts of rate limits; for `Capability.RAW` with `Capability.RATE_LIMITS`."""
        message = f"{type(self).__name__} does not implement raw_hits, which Capability.RAW with RATE_LIMITS requires"
        raise NotSupportedError(message)
