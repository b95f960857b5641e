"""Whatever is stored: it is a record that can be written and read again, or it is a CorruptRecordError."""

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
def test_a_changed_record_is_read_or_corrupt(first_seed: int) -> None:
    """A record of Node's that was changed is read, written and read again equal, or is a CorruptRecordError."""
    readable = hold_seeds(range(first_seed, first_seed + 250))
    assert 50 < readable < 200, "too many of the changes are too small, or too large"


def test_changes_differ() -> None:
    """Hardly two of the changed records are the same."""
    assert len({mutated(Random(seed))[1] for seed in range(250)}) > 200


def test_a_reader_that_lets_its_own_errors_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets a RecursionError out is found within 1,000 records."""
    monkeypatch.setattr(codec, "RecursionError", ZeroDivisionError, raising=False)
    with pytest.raises(RecursionError):
        hold_seeds(range(1000))


def test_a_writer_that_forgets_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that leaves out a record's last field is found within 1,000 records."""

    def forgetful(record: Record) -> bytes:
        *kept, _ = parsed(to_wire(record)).items()
        return json.dumps(dict(kept)).encode()

    monkeypatch.setattr(fuzzing, "to_wire", forgetful)
    with pytest.raises((AssertionError, CorruptRecordError)):
        hold_seeds(range(1000))
