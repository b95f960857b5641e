"""Mutated records survive a round trip or raise CorruptRecordError."""

from __future__ import annotations

import json
from random import Random

import pytest

import fuzzing
from fuzzing import hold_seeds, mutated
from wnc_store import CorruptRecordError, Record, to_wire
from wnc_store.records import codec
from wnc_store_contract.factories import parsed


@pytest.mark.parametrize("first_seed", [0, 250, 500, 750])
def test_a_mutated_record_is_valid_or_corrupt(first_seed: int) -> None:
    """A mutated record survives a round trip or raises CorruptRecordError."""
    readable = hold_seeds(range(first_seed, first_seed + 250))
    assert 50 < readable < 200, (
        f"expected 50 to 200 valid records, got {readable}: the mutations are too strong or weak"
    )


def test_mutations_differ() -> None:
    """Nearly all mutated records differ from each other."""
    assert len({mutated(Random(seed))[1] for seed in range(250)}) > 200


def test_a_leaking_error_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that leaks a RecursionError is detected within 1,000 records."""
    monkeypatch.setattr(codec, "RecursionError", ZeroDivisionError, raising=False)
    with pytest.raises(RecursionError):
        hold_seeds(range(1000))


def test_a_lost_field_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A serializer that omits a record's last field is detected within 1,000 records."""

    def forgetful(record: Record) -> bytes:
        *kept, _ = parsed(to_wire(record)).items()
        return json.dumps(dict(kept)).encode()

    monkeypatch.setattr(fuzzing, "to_wire", forgetful)
    with pytest.raises((AssertionError, CorruptRecordError)):
        hold_seeds(range(1000))
