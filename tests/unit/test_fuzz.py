"""Whatever is stored: it is a record that can be written and read again, or it is a CorruptRecordError."""

from __future__ import annotations

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fuzzing
from fuzzing import RECORDS, hold, mutated
from wnc_store import CorruptRecordError, Record, to_wire, wire
from wnc_store_contract.samples import parsed

SEEDS = range(1000)


def hold_all() -> None:
    """Try a thousand changed records, the same ones each time."""
    for seed in SEEDS:
        hold(*mutated(Random(seed)))


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=500, deadline=None)
def test_a_changed_record_is_read_or_corrupt(random: Random) -> None:
    """A record of Node's that was changed is read, written and read again equal, or is a CorruptRecordError."""
    hold(*mutated(random))


def test_the_changes_are_neither_too_small_nor_too_large() -> None:
    """At least a fifth of the changed records can be read, at least a fifth can't, and hardly two are the same."""
    changed = [mutated(Random(seed)) for seed in SEEDS]
    readable = sum(hold(kind, data) for kind, data in changed)
    assert 200 < readable < 800
    assert len({data for _, data in changed}) > 800


@pytest.mark.parametrize(("kind", "data"), RECORDS)
def test_what_node_wrote_holds(kind: type[Record], data: bytes) -> None:
    """A record of Node's that was not changed is read."""
    assert hold(kind, data)


def test_a_reader_that_lets_its_own_errors_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets a RecursionError out is found within 1,000 records."""
    monkeypatch.setattr(wire, "RecursionError", ZeroDivisionError, raising=False)
    with pytest.raises(RecursionError):
        hold_all()


def test_a_writer_that_forgets_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that leaves out a record's last field is found within 1,000 records."""

    def forgetful(record: Record) -> bytes:
        *kept, _ = parsed(to_wire(record)).items()
        return json.dumps(dict(kept)).encode()

    monkeypatch.setattr(fuzzing, "to_wire", forgetful)
    with pytest.raises((AssertionError, CorruptRecordError)):
        hold_all()
