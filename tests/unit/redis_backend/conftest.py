"""The parts of the Redis backend by themselves, without a server: so their time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on a loop whose clock jumps."""
    return {"virtual time": VirtualTimeLoop}
