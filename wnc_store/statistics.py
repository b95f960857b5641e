"""What a store may tell of its work inside, and of its server's, beyond what its callers see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable


@runtime_checkable
class SupportsStatistics(Protocol):
    """A store that counts what it does inside. No store has to; `wnc_store.otel.instrument` reads it where it is there.

    - `commits`: changes of rooms that were committed; one commit may carry the changes of several callers.
    - `retries`: commits that found another state than they had read, and commands that were sent again.
    - `batches`: writes to the server.
    - `commands`: commands in them; `commands / batches` is the mean size of a batch.
    - `cache_hits`: records that were not parsed, or not fetched, because they were still known.
    - `cache_misses`: those that were.

    A backend leaves out what it has nothing of, and may count more. No name holds an id.
    """

    def statistics(self) -> Mapping[str, int]:
        """Return the counts since the store was made; none ever falls. It is cheap and waits for nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ServerOperation:
    """What a server says of one kind of operation, whoever asked for it.

    Attributes:
        name: of the operation; never a key or a value.
        calls: how often it ran since the server began to count.
        seconds: how long all of them took together.
    """

    name: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class SlowLogEntry:
    """One operation that a server remembers because it was slow.

    Attributes:
        name: of the operation; never a key or a value.
        seconds: how long it took.
        at: when it ran, by the server's clock.
    """

    name: str
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class ServerActivity:
    """What a server says of its work, for all its clients.

    Attributes:
        listed_rooms: how many rooms the index lists, dead ones included; None if it does not say.
        operations: the kinds of operations that ran.
        slow: the slow ones that it remembers, the latest first.
        unavailable: what it did not say, and what to do.
    """

    listed_rooms: int | None
    operations: tuple[ServerOperation, ...]
    slow: tuple[SlowLogEntry, ...]
    unavailable: tuple[str, ...] = ()


@runtime_checkable
class SupportsServerActivity(Protocol):
    """A store that can ask its server what it does. No store has to; `wnc-store top` uses it where it is there."""

    async def activity(self) -> ServerActivity:
        """Ask the server; what it refuses to say is among `unavailable`.

        Raises:
            StoreUnavailableError: it does not answer.
        """
        ...
