"""Payloads of NOTIFY, without a server."""

from __future__ import annotations

import pytest

from wnc_store import AppEvent, SecretBytes
from wnc_store.base import EncodedEvent
from wnc_store_postgres.payloads import PayloadDecoder, encode_payloads

ROOM = "R" * 128
EVENT = AppEvent(room_id=ROOM, name="any")


def payloads(*texts: str) -> list[bytes]:
    """Return the payloads of a transaction with events of these texts."""
    return encode_payloads(ROOM, [EncodedEvent(EVENT, SecretBytes(text.encode())) for text in texts])


def decoded(encoded: list[bytes]) -> list[tuple[str, bytes | None]]:
    """Return what a listener gets."""
    decoder = PayloadDecoder()
    return [found for payload in encoded if (found := decoder.decode(payload.decode())) is not None]


@pytest.mark.parametrize("text", ["{}", "a b", "x" * 30_000, "€" * 10_000, "a" + "😀" * 9_000])
def test_texts_arrive_whole(text: str) -> None:
    """An event of any size arrives once and unchanged, in payloads that the server accepts."""
    sent = payloads(text)
    assert max(map(len, sent)) < 8000
    assert decoded(sent) == [(ROOM, text.encode())]


def test_payloads_of_a_transaction_are_unique() -> None:
    """Two equal events in one transaction have different payloads, because the server drops repeated ones."""
    sent = payloads("{}", "{}")
    assert len(set(sent)) == 2
    assert len(decoded(sent)) == 2


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_part_is_a_gap(lost: int) -> None:
    """If a part of an event is lost, the event is a gap of its room, and the next event arrives."""
    sent = payloads("x" * 20_000)
    del sent[lost]
    found = decoded([*sent, *payloads("next")])
    assert found[-1] == (ROOM, b"next")
    assert all(data is None for _, data in found[:-1])


@pytest.mark.parametrize("payload", ["", "1", "1.1/ R x", "0.x/y R {}"])
def test_a_payload_of_another_program_is_a_gap(payload: str) -> None:
    """A payload that another program has sent contains no event, and raises nothing."""
    found = PayloadDecoder().decode(payload)
    assert found is not None
    assert found[1] is None


def test_payloads_are_masked() -> None:
    """Local variables that hold payloads do not show texts of messages."""
    assert "x" not in repr(payloads("xxxx"))
