"""An update of a room whose caller waits for the outcome of a batch."""

from __future__ import annotations

import asyncio
import copy

from wnc_store.base.rooms import Transition
from wnc_store.records.models import Room


class PendingUpdate:
    """An update whose caller waits for the outcome.

    Attributes:
        room_id: Id of the room.
        transition: Transition of the update.
        future: Future that the caller awaits. It is done if the caller was cancelled.
        deadline: Deadline of the caller, in seconds of the event loop's clock.
        outcome: Result or error of the transition, set by `apply`.
        is_sent: Whether the outcome was sent to the server and may be stored.
    """

    __slots__ = ("deadline", "future", "is_sent", "outcome", "room_id", "transition")

    def __init__(
        self, room_id: str, transition: Transition, future: asyncio.Future[Room | None], deadline: float
    ) -> None:
        self.room_id = room_id
        self.transition = transition
        self.future = future
        self.deadline = deadline
        self.outcome: Room | BaseException | None = None
        self.is_sent = False

    def apply(self, room: Room | None) -> Room | None:
        """Return the room after the transition. If that raises, record the error and return the room unchanged."""
        self.outcome = None
        if room is None:
            return None
        try:
            after = self.outcome = self.transition(room)
        except (StopIteration, asyncio.CancelledError) as error:  # a future does not accept or preserve them
            self.outcome = RuntimeError(f"the transition of the update raised {type(error).__name__}")
            self.outcome.__cause__ = error
            return room
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - `resolve` raises it in the caller
            self.outcome = error
            return room
        return after

    def resolve(self) -> None:
        """Return the outcome to the caller."""
        if self.future.done():
            return
        if isinstance(self.outcome, BaseException):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)

    def fail(self, error: BaseException) -> None:
        """Raise a copy of the error in the caller, because tracebacks of several callers would accumulate on it."""
        if self.future.done():
            return
        if isinstance(error, Exception):
            duplicate = copy.copy(error)
            duplicate.__cause__ = error.__cause__
            self.future.set_exception(duplicate)
        else:  # the event loop is shutting down, or a transition raised KeyboardInterrupt
            self.future.cancel()
