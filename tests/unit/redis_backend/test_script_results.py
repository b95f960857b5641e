"""Tests of the decoded replies of scripts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from wnc_store import CorruptRecordError
from wnc_store.base import Committed
from wnc_store_redis.script_results import (
    Appended,
    Edited,
    Lease,
    NotAppended,
    Similar,
    StoredBytes,
    StoredEntries,
    Window,
    decode_acquire,
    decode_append,
    decode_commit,
    decode_edit,
    decode_hit,
    decode_peek,
    window_of,
)

MINUTE = timedelta(minutes=1)


def window(reply: Any) -> Window:
    """Return the window of a reply to PEEK."""
    return window_of(decode_peek(reply), b"rl:ip", MINUTE)


@pytest.mark.parametrize(
    ("reply", "result"), [(1, Committed()), ([0, b"other"], StoredBytes(b"other")), ([0, None], StoredBytes(None))]
)
def test_commit_replies(reply: Any, result: Any) -> None:
    """A reply to COMMIT reports the commit, or the bytes that are stored instead of the expected ones."""
    assert decode_commit(reply) == result


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (3, 3),
        ([3, b"other"], Appended(3, b"other")),
        (0, NotAppended.ALREADY_PRESENT),
        ([0, b"first", b"second"], Similar([b"first", b"second"])),
        (-1, NotAppended.UNKNOWN),
    ],
)
def test_append_replies(reply: Any, result: Any) -> None:
    """A reply to APPEND reports the size of the chat, the appended entry's predecessor, or why nothing was appended."""
    assert decode_append(reply) == result


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        (1, Edited.DONE),
        (0, Edited.DONE_BEFORE),
        (-1, Edited.UNKNOWN),
        ([], StoredEntries([])),
        ([b"first", b"second"], StoredEntries([b"first", b"second"])),
    ],
)
def test_edit_replies(reply: Any, result: Any) -> None:
    """A reply to EDIT reports the change, or the entries that are stored instead of the expected one."""
    assert decode_edit(reply) == result


def test_limiter_replies() -> None:
    """The replies of the limiters' scripts are named results."""
    assert decode_acquire([1, 2]) == Lease(is_active=True, total=2)
    assert decode_hit([2, 1500]) == Window(2, timedelta(seconds=1.5))
    assert window([1500, b"2"]) == Window(2, timedelta(seconds=1.5))
    assert window([-2, None]) == Window(0, timedelta(0))


def test_a_count_without_a_ttl_has_a_full_window() -> None:
    """The next hit gives a count that never expires a full window."""
    assert window([-1, b"2"]) == Window(2, MINUTE)


def test_a_corrupt_count_names_its_key() -> None:
    """A count that is not an integer raises CorruptRecordError with its key."""
    with pytest.raises(CorruptRecordError, match="rl:ip"):
        window([1500, b"many"])
