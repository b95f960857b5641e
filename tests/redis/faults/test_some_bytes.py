"""The connection is cut within a write's exchange; `tests/stress/faults` cuts it after every byte."""

from __future__ import annotations

import pytest

from chaos.cuts import untruths
from chaos.server import DurableServer
from chaos.writes import WRITES, Write

_STRIDE = 179
"""A prime, so that other bytes are met in other exchanges."""


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_a_cut_connection_never_makes_a_store_lie(server: DurableServer, write: Write) -> None:
    """However a write ends when the connection is cut, it is as the file says; the next calls work."""
    assert await untruths(server, write, warm=True, stride=_STRIDE) == []


@pytest.mark.parametrize("write", [one for one in WRITES if one.name in {"create", "join", "message"}])
async def test_a_network_that_stays_down_never_makes_a_store_lie(server: DurableServer, write: Write) -> None:
    """However a write ends when the network goes away and stays away, it is as the file says."""
    assert await untruths(server, write, warm=False, stride=5 * _STRIDE, stay_down=True) == []
