"""How a call ended, in what a caller may conclude from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis.exceptions

from wnc_store import (
    ChatMessage,
    OutcomeUnknownError,
    RateLimitDecision,
    Room,
    StoreUnavailableError,
)

Kind = Literal["done", "refused", "unknown", "wrong"]


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        kind: "done", it returned; "refused", it says that nothing happened, because the server is away; "unknown", it
            says that it does not know; "wrong", it raised what no fault of server or network should give.
        value: what it returned, comparable.
        error: what it raised.
    """

    kind: Kind
    value: Any = None
    error: Exception | None = None


async def outcome_of(call: Awaitable[Any]) -> Outcome:
    """Wait for a call and tell how it ended."""
    try:
        value = await call
    except OutcomeUnknownError as error:
        return Outcome("unknown", error=error)
    except StoreUnavailableError as error:
        return Outcome("refused", error=error)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test is to see it
        return Outcome("wrong", error=error)
    return Outcome("done", comparable(value))


async def outcome_in_time(call: Callable[[], Awaitable[Any]]) -> Outcome:
    """Return how a call ended; again if it ran out of its time, which on a busy machine says nothing."""
    outcome = await outcome_of(call())
    for _ in range(60):
        error = outcome.error
        if error is None or not isinstance(error.__cause__, TimeoutError | redis.exceptions.TimeoutError):
            break
        outcome = await outcome_of(call())
    return outcome


def comparable(value: Any) -> Any:
    """Return of a result what does not depend on the room's id or on the time."""
    if isinstance(value, Room):
        users = tuple((user.id, user.name, user.is_host) for user in value.users)
        return (value.rev, value.host_id, users, value.video_url, value.video_state.current_time)
    if isinstance(value, RateLimitDecision):
        return value.remaining
    if isinstance(value, list):
        return tuple(one.id for one in cast("list[ChatMessage]", value))
    return value


def untruth(outcome: Outcome, expected: Any, steps: int, *, repeatable: bool) -> str | None:
    """Return what is untrue about how a write ended, or None.

    Args:
        outcome: how it ended.
        expected: what it returns where nothing fails.
        steps: how many steps of it the server has applied.
        repeatable: whether applying it again changes nothing, so that it may have been applied more than once.
    """
    often = f"applied {steps} times"
    if outcome.kind == "wrong":
        return f"raised {outcome.error!r} ({often})"
    if steps > 1 and not repeatable:
        return f"{outcome.kind}, {often}"
    if outcome.kind == "done" and not steps:
        return "returned, never applied"
    if outcome.kind == "refused" and steps:
        return f"raised {outcome.error!r}, {often}"
    if outcome.kind == "done" and outcome.value != expected:
        return f"returned {outcome.value!r} in place of {expected!r} ({often})"
    return None
