"""Cuts after every byte of the exchange of every write on a used connection, and of one write on a new one."""

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
async def test_outcomes_are_correct_after_a_cut(server: DurableServer, write: Write, warm: bool) -> None:
    """After a cut at any byte, the outcome of the write agrees with the server's log, and the next calls work."""
    # The exchange on a new connection begins with the same handshake for all writes: one of them tries all its bytes.
    stride = 1 if warm or write is WRITES[0] else 7
    assert await untruths(server, write, warm=warm, stride=stride) == []


@pytest.mark.parametrize("warm", [pytest.param(False, marks=pytest.mark.exhaustive), True], ids=["new", "used"])
@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_outcomes_are_correct_while_the_network_is_down(server: DurableServer, write: Write, warm: bool) -> None:
    """If the network stays down after any byte, the outcome of the write agrees with the server's log."""
    assert await untruths(server, write, warm=warm, stride=31, stay_down=True) == []
