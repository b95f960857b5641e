"""Waiting for what tells nobody that it has happened."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

SECONDS = 200
"""How long a test waits for what has to come; it only ends a hang."""


async def wait_until(holds: Callable[[], object]) -> None:
    """Wait until something is true, or what it gives to await is.

    Raises:
        TimeoutError: that did not happen in time.
    """
    async with asyncio.timeout(SECONDS):
        while True:
            answer = holds()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.005)
