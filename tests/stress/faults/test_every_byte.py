"""The connection is cut after byte N of a write's exchange, for every N: the caller is told the truth."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaos.cuts import untruths
from chaos.server import DurableServer, durable_server
from chaos.writes import WRITES, Write

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[DurableServer]:
    with durable_server() as server:
        yield server


@pytest.mark.parametrize("warm", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_a_cut_connection_never_makes_a_store_lie(server: DurableServer, write: Write, warm: bool) -> None:
    """However a write ends when the connection is cut at any byte, it is as the file says; the next calls work."""
    assert await untruths(server, write, warm=warm, stride=1) == []


@pytest.mark.parametrize("warm", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_a_network_that_stays_down_never_makes_a_store_lie(
    server: DurableServer, write: Write, warm: bool
) -> None:
    """However a write ends when the network goes away at some byte and stays away, it is as the file says."""
    assert await untruths(server, write, warm=warm, stride=17, stay_down=True) == []
