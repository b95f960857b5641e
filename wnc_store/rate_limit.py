"""What a rate limiter says of a hit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RateLimitDecision:
    """Whether a hit is within the limit.

    Attributes:
        allowed: whether it is.
        limit: how many hits a window allows.
        remaining: how many more it allows by now.
        retry_after: until the next window begins; zero if allowed.
        reset_after: until this window ends, and the count with it; zero if none has begun.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: timedelta
    reset_after: timedelta

    @classmethod
    def of(cls, count: int, limit: int, left: timedelta, *, allowed: bool) -> RateLimitDecision:
        """Return the decision on a window that has counted `count` and ends when `format_ttl` has passed."""
        return cls(allowed, limit, max(0, limit - count), timedelta(0) if allowed else left, left)
