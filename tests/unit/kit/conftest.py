"""Event loops with virtual time for the tests of the kit for backend authors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on an event loop whose clock advances without waiting."""
    return {"virtual time": VirtualTimeLoop}
