"""Outcomes of calls, classified by what a caller can conclude from them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis.exceptions

from wnc_store import ChatMessage, OutcomeUnknownError, RateLimitDecision, Room, StoreUnavailableError

Kind = Literal["done", "refused", "unknown", "wrong"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a call.

    Attributes:
        kind: "done": the call returned. "refused": its error means that nothing happened. "unknown": its error means
            that the outcome is unknown. "wrong": an error that no fault of the server or network should cause.
        value: the comparable part of the result.
        error: the error.
    """

    kind: Kind
    value: Any = None
    error: Exception | None = None


async def outcome_of(call: Awaitable[Any]) -> Outcome:
    """Await a call and return its outcome."""
    try:
        value = await call
    except OutcomeUnknownError as error:
        return Outcome("unknown", error=error)
    except StoreUnavailableError as error:
        return Outcome("refused", error=error)
    except Exception as error:  # noqa: BLE001 - the test reports every error
        return Outcome("wrong", error=error)
    return Outcome("done", comparable(value))


async def outcome_in_time(call: Callable[[], Awaitable[Any]]) -> Outcome:
    """Return the outcome of a call, retried after a timeout, which a busy machine can cause."""
    outcome = await outcome_of(call())
    for _ in range(60):
        error = outcome.error
        if error is None or not isinstance(error.__cause__, TimeoutError | redis.exceptions.TimeoutError):
            break
        outcome = await outcome_of(call())
    return outcome


def comparable(value: Any) -> Any:
    """Return the part of a result that does not depend on the room's id or the time."""
    if isinstance(value, Room):
        users = tuple((user.id, user.name, user.is_host) for user in value.users)
        return (value.rev, value.host_id, users, value.video_url, value.video_state.current_time)
    if isinstance(value, RateLimitDecision):
        return value.remaining
    if isinstance(value, ChatMessage):
        return (value.id, value.message, value.model_extra)
    if isinstance(value, list):
        return tuple((one.id, one.message, one.model_extra) for one in cast("list[ChatMessage]", value))
    return value


def untruth(outcome: Outcome, expected: Any, steps: int, *, repeatable: bool) -> str | None:
    """Return the false part of a write's outcome, or None.

    Args:
        outcome: the outcome.
        expected: the result without a fault.
        steps: number of times that the server has applied the write.
        repeatable: whether the write is idempotent, so that it may have been applied more than once.
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
        return f"returned {outcome.value!r} instead of {expected!r} ({often})"
    return None
