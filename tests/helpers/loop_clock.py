"""The event loop's clock, which tests move forward instead of waiting."""

from __future__ import annotations

import asyncio
from typing import Any


def advance_loop(seconds: float) -> None:
    """Move the running event loop's clock forward; timers that are due then are called in its next iteration."""
    loop: Any = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds
