"""Optional statistics of a store and of its server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from wnc_store.health import ServerInfo


@runtime_checkable
class SupportsStatistics(Protocol):
    """Optional interface of a store that counts internal operations. `wnc_store.otel.instrument` exports the counts.

    - `commits`: committed changes of rooms. One commit may contain the changes of several callers.
    - `retries`: commits that failed because of a concurrent change, and commands that were sent again.
    - `batches`: batches of commands sent to the server.
    - `commands`: commands in these batches. `commands / batches` is the mean batch size.
    - `cache_hits`: records that were taken from the cache instead of being decoded or fetched.
    - `cache_misses`: records that were not in the cache.

    A backend omits counts that do not apply to it and may add others. Names never contain ids.
    """

    def statistics(self) -> Mapping[str, int]:
        """Return the counts since the store was created. Counts never decrease. The method does not block."""
        ...


@dataclass(frozen=True, slots=True)
class ServerOperation:
    """Statistics of one kind of operation of the server, for all clients.

    Attributes:
        name: Name of the operation. It never contains a key or a value.
        calls: Number of calls since the server started to count.
        seconds: Total duration of these calls in seconds.
    """

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SlowLogEntry:
    """One entry of the server's log of slow operations.

    Attributes:
        name: Name of the operation. It never contains a key or a value.
        seconds: Duration in seconds.
        at: Start time, by the server's clock.
        own: Whether the queried store itself ran the operation. False if the server does not report this.
    """

    name: str
    seconds: float
    at: datetime
    own: bool = False


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """Activity of a server, for all clients.

    Attributes:
        listed_rooms: Number of rooms in the index, including expired ones. None if the server did not report it.
        operations: Statistics per kind of operation.
        slow: Entries of the slow log, newest first.
        unavailable: Descriptions of information that the server did not report, and what to do.
        server: Product and version of the server. None if they are unknown.
    """

    listed_rooms: int | None
    operations: tuple[ServerOperation, ...]
    slow: tuple[SlowLogEntry, ...]
    unavailable: tuple[str, ...] = ()
    server: ServerInfo | None = None


@runtime_checkable
class SupportsServerActivity(Protocol):
    """Optional interface of a store that can query the activity of its server. `wnc-store top` uses it."""

    async def activity(self) -> ServerActivity:
        """Query the server. Information that the server denies is listed in `unavailable`.

        The operations do not include those of earlier calls of this method.

        Raises:
            StoreUnavailableError: The server can't be reached.
        """
        ...
