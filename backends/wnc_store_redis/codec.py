"""Random marks that tell equal records apart: in blanks behind the JSON, which every reader ignores."""

from __future__ import annotations

import os

from wnc_store import Record, to_wire

_TO_BLANKS = bytes(b" \t\n\r"[byte & 3] for byte in range(256))
_BLANKS = 16


def encode_with_nonce(record: Record) -> bytes:
    """Return a record as it is stored, with a mark of its own.

    Two processes that make the same change to the same room would else store the same bytes, and one whose answer was
    lost would take the other's commit for its own. A message that is added again after its chat was cleared would be
    taken for the one before, and with it what was known of the entries before that.
    """
    return to_wire(record) + os.urandom(_BLANKS).translate(_TO_BLANKS)


def is_marked(entry: bytes) -> bool:
    """Tell whether an entry has a mark, so that it is unlike any other; what the Node app writes has none."""
    return entry[-_BLANKS:].isspace()
