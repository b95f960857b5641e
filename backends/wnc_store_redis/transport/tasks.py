"""Cancellation of background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

_CANCEL_AGAIN = 0.25
"""Seconds after which a task that still runs is cancelled again."""


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and return when they have ended.

    A task is cancelled until it ends, because redis-py may swallow a cancellation while it opens or closes a
    connection. Without that, a close would wait as long as the server is silent.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN)
