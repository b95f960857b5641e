"""Pages of a listing and batches of a sweep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TypeVar

from wnc_store.errors import OutcomeUnknownError, StoreError

T = TypeVar("T")


async def pages(items: AsyncIterator[T], size: int) -> AsyncIterator[Sequence[T]]:
    """Yield the items in lists of `size`. The last list may be shorter and is not empty."""
    page: list[T] = []
    async for item in items:
        page.append(item)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page


async def sum_batches(batches: AsyncIterator[int]) -> int:
    """Return the number of index entries that the batches of `BaseRoomStore._prune_index` remove.

    Args:
        batches: The number of entries that each batch has removed.

    Raises:
        OutcomeUnknownError: A batch failed after earlier ones have removed entries. The error states how many.
    """
    removed = 0
    try:
        async for count in batches:
            removed += count
    except StoreError as error:
        if not removed:
            raise
        message = f"{removed} entries of expired rooms were removed before an error: {error}; sweep again"
        unknown = OutcomeUnknownError(message)
        unknown.final_after = error.final_after if isinstance(error, OutcomeUnknownError) else timedelta(0)
        raise unknown from error
    return removed
