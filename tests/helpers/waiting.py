"""Polling for conditions without an event."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

SECONDS = 200
"""Time limit that ends a hanging wait. No verdict depends on it."""


async def wait_until(holds: Callable[[], object]) -> None:
    """Poll until a condition, or the result of its awaitable, is true.

    Raises:
        TimeoutError: the condition did not become true in time.
    """
    async with asyncio.timeout(SECONDS):
        while True:
            answer = holds()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.005)
