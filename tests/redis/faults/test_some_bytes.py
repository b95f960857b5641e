"""Cuts within the exchange of a write. `tests/stress/faults` cuts after every byte."""

from __future__ import annotations

import pytest

from chaos.cuts import untruths
from chaos.server import DurableServer
from chaos.writes import WRITES, Write

_STRIDE = 179
"""A prime, so that different writes are cut at different bytes."""


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_outcomes_are_correct_after_a_cut(server: DurableServer, write: Write) -> None:
    """After a cut, the outcome of the write agrees with the server's log, and the next calls work."""
    assert await untruths(server, write, warm=True, stride=_STRIDE) == []


@pytest.mark.parametrize("write", [one for one in WRITES if one.name in {"create", "join", "message"}])
async def test_outcomes_are_correct_while_the_network_is_down(server: DurableServer, write: Write) -> None:
    """If the network stays down after a cut, the outcome of the write agrees with the server's log."""
    assert await untruths(server, write, warm=False, stride=5 * _STRIDE, stay_down=True) == []
