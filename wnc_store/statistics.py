"""What a store may tell of its work inside, beyond what its callers see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class HasStatistics(Protocol):
    """A store that counts what it does inside. No store has to; `wnc_store.otel.instrument` reads it where it is there.

    | name | counts |
    |---|---|
    | `commits` | changes of rooms that were committed; one commit may carry the changes of several callers |
    | `retries` | commits that found another state than they had read, and commands that were sent again |
    | `batches` | writes to the server |
    | `commands` | commands in them; `commands / batches` is the mean size of a batch |
    | `cache_hits` | records that were not parsed, or not fetched, because they were still known |
    | `cache_misses` | those that were |

    A backend leaves out what it has nothing of, and may count more. No name holds an id.
    """

    def statistics(self) -> Mapping[str, int]:
        """Return the counts since the store was made; none ever falls. It is cheap and waits for nothing."""
        ...
