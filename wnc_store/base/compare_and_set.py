"""Room store that commits updates by compare-and-set."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from wnc_store.base.events import EncodedEvent
from wnc_store.base.rooms import BaseRoomStore, Transition
from wnc_store.errors import ConflictError
from wnc_store.records.models import Room

VersionT = TypeVar("VersionT")


class VersionedRoom(NamedTuple, Generic[VersionT]):
    """A stored room and its version.

    The version is a value that differs for every state of the room, for example its bytes or a revision.
    """

    room: Room
    version: VersionT


@dataclass(frozen=True, slots=True)
class Committed:
    """Result of a compare-and-set that took effect."""


class VersionMismatch(NamedTuple, Generic[VersionT]):
    """Result of a compare-and-set that changed nothing, because the room has another version.

    Attributes:
        current: The current state of the room. None if the room does not exist any more.
    """

    current: VersionedRoom[VersionT] | None


class CompareAndSetRoomStore(BaseRoomStore, Generic[VersionT]):
    """Room store that commits updates by compare-and-set, and retries them after concurrent changes.

    Its primitives are those of `BaseRoomStore`, with `_get_versioned`, `_compare_and_set` and `_compare_and_delete`
    instead of `_get` and `_update`.
    """

    @abstractmethod
    async def _get_versioned(self, room_id: str) -> VersionedRoom[VersionT] | None:
        """Return the live room with this id and its version, or None."""

    @abstractmethod
    async def _compare_and_set(
        self, before: VersionedRoom[VersionT], after: Room, encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[VersionT]:
        """Atomically replace a room if its version is still `before.version`. Otherwise change nothing.

        Store the new room with the TTL `self._ttls.room(after)`, and keep it in the index. In the same step, set the
        TTL of its chat to `self._ttls.chat(before.room, after)`, unless that is None, and publish `encoded_events` in
        order. There are none unless `publish_changes` is on.

        Raises:
            OutcomeUnknownError: The room may have been replaced. Any other error means that nothing was changed.
        """

    @abstractmethod
    async def _compare_and_delete(
        self, before: VersionedRoom[VersionT], encoded_events: Sequence[EncodedEvent], /
    ) -> Committed | VersionMismatch[VersionT]:
        """Atomically delete a room, its chat and its index entry if its version is still `before.version`.

        In the same step, publish `encoded_events`. Otherwise change nothing. If the room does not exist after an
        attempt of unknown outcome, another client may have deleted it: raise `OutcomeUnknownError`.
        """

    async def _get(self, room_id: str) -> Room | None:
        stored = await self._get_versioned(room_id)
        return stored and stored.room

    async def _update(self, room_id: str, transition: Transition, /) -> Room | None:
        timeout = self._settings.operation_timeout.total_seconds()
        start = time.monotonic()
        attempts = 0
        before = await self._get_versioned(room_id)
        while before is not None:
            after = transition(before.room)
            if after is before.room:
                return after
            result = await self._commit(before, after, self._change_events.for_commit(before.room, after))
            if isinstance(result, Committed):
                return after
            attempts += 1
            elapsed = time.monotonic() - start
            if elapsed + elapsed / attempts > timeout:  # another attempt would exceed the timeout
                raise ConflictError(room_id, attempts)
            before = result.current
        return None

    async def _commit(
        self, before: VersionedRoom[VersionT], after: Room | None, encoded_events: Sequence[EncodedEvent]
    ) -> Committed | VersionMismatch[VersionT]:
        if after is None:
            return await self._compare_and_delete(before, encoded_events)
        return await self._compare_and_set(before, after, encoded_events)
