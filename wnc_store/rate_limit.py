"""Result of a rate limiter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RateLimitDecision:
    """Whether a hit is within the limit, and the state of its window.

    Attributes:
        allowed: Whether the hit is within the limit.
        limit: Largest number of hits per window.
        remaining: Number of further hits that this window allows.
        retry_after: Time until the next window can start. Zero if the hit is allowed.
        reset_after: Time until this window ends and its count is deleted. Zero if there is no window.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after: timedelta
    reset_after: timedelta

    @classmethod
    def of(cls, count: int, limit: int, reset_after: timedelta, *, allowed: bool) -> RateLimitDecision:
        """Return the decision for a window with `count` hits that ends after `reset_after`."""
        return cls(allowed, limit, max(0, limit - count), timedelta(0) if allowed else reset_after, reset_after)
