"""A durable server for each test that wants one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.server import DurableServer, durable_server


@pytest.fixture(name="server")
def _server() -> Iterator[DurableServer]:
    """A server of the test's own that writes down everything."""
    with durable_server("--busy-reply-threshold", "20") as server:
        yield server
