"""Removal of users whose process ended without closing their connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from wnc_store.errors import LimitExceededError, NotSupportedError, StoreClosedError, StoreUnavailableError
from wnc_store.presence.membership import Member, Membership, is_tracked
from wnc_store.protocols import Store

_logger = logging.getLogger("wnc_store")

_KEY = "presence:sweeper"
_BATCH = 20
_PAUSE_SECONDS = 0.1
"""Pause between two batches. It limits a sweep to 200 rooms per second."""


class Sweeper:
    """Removes tracked users who had no lease in two consecutive sweeps.

    A user whose leases were lost, for example because the server was unavailable for longer than the grace period, is
    absent in one sweep only: connected processes renew all leases more often than the rooms are swept. After all
    processes were stopped, users have the time of two sweeps to reconnect.

    If a user cannot be removed, for example because the room is corrupt, it is logged once and every sweep tries again.
    If the store is unavailable, the sweep ends.

    Args:
        store: The store.
        membership: Removes the users.
        sweeper_id: Id of this process among the sweepers of the store.
        ttl: How long no other process sweeps if this process ends without resigning.
    """

    def __init__(self, store: Store, membership: Membership, sweeper_id: str, ttl: timedelta) -> None:
        self._rooms = store.rooms
        self._connections = store.connections
        self._membership = membership
        self._id = sweeper_id
        self._ttl = ttl
        self._absent: set[Member] = set()
        self._failing: set[Member] = set()

    async def sweep(self) -> None:
        """Sweep all rooms of the store, unless another process does it."""
        before, self._absent = self._absent, set()  # after an error, the next sweep is the first one again
        absent: set[Member] = set()
        failing: set[Member] = set()
        if not await self._is_elected():
            return
        room_ids = [room_id async for room_id in self._rooms.active_room_ids()]
        for start in range(0, len(room_ids), _BATCH):
            if start:
                await asyncio.sleep(_PAUSE_SECONDS)
                if not await self._is_elected():
                    return
            for member in await self._find_absent(room_ids[start : start + _BATCH]):
                if member not in before:
                    absent.add(member)
                elif not await self._remove(member):
                    absent.add(member)
                    failing.add(member)
        self._absent, self._failing = absent, failing

    async def resign(self) -> None:
        """Let another process sweep immediately."""
        await self._connections.release(_KEY, self._id)

    async def _remove(self, member: Member) -> bool:
        """Remove a user. Return False after an error that concerns only this user or room."""
        try:
            await self._membership.remove(member, despite_grace=False)
        except (StoreUnavailableError, StoreClosedError, NotSupportedError):
            raise
        except Exception as error:  # noqa: BLE001 - must not keep the users of other rooms
            if member not in self._failing:
                _logger.warning("could not remove a user from room %s, retrying: %s", member.room_id, error)
            return False
        return True

    async def _is_elected(self) -> bool:
        try:
            await self._connections.acquire(_KEY, self._id, limit=1, ttl=self._ttl)
        except LimitExceededError:
            return False
        return True

    async def _find_absent(self, room_ids: Sequence[str]) -> list[Member]:
        """Return the tracked users without leases. The users of unreadable rooms are not among them."""
        rooms = [room for room in await self._rooms.get_rooms(room_ids) if room is not None]
        members = [Member(room.id, user.id) for room in rooms for user in room.users if is_tracked(user)]
        absent = await asyncio.gather(*(self._membership.is_absent(member) for member in members))
        return [member for member, is_absent in zip(members, absent, strict=True) if is_absent]
