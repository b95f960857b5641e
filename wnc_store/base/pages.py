"""Pages of an asynchronous iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

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
