"""Durations as Redis takes and tells them: whole milliseconds."""

from __future__ import annotations

from datetime import timedelta

_MILLISECOND = timedelta(milliseconds=1)
_MOST = timedelta.max // _MILLISECOND


def to_millis(duration: timedelta) -> bytes:
    """Return a duration as an argument of PX and PEXPIRE."""
    return str(duration // _MILLISECOND).encode()


def parse_pttl(pttl: int) -> timedelta | None:
    """Return what PTTL says: -2 is no such key (None), -1 a key that never expires (`timedelta.max`)."""
    if pttl < 0:
        return timedelta.max if pttl == -1 else None
    return pttl * _MILLISECOND if pttl < _MOST else timedelta.max
