"""Presence of users across processes, by leases that each open socket holds."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

from wnc_store import AppEvent, Clock, Store, StoreError

EXPIRED = "expired"
"""Name of the app event that reports a room that disappeared without being closed."""

_logger = logging.getLogger("uvicorn.error")


class SocketLease(NamedTuple):
    """The lease of an open socket, which keeps its user in the room."""

    room_id: str
    user_id: str
    socket_id: str

    @property
    def key(self) -> tuple[str, str]:
        """The client and connection id of the lease in `store.connections`."""
        return _client_id(self.room_id, self.user_id), self.socket_id


class Presence:
    """Removes users from their rooms who have had no open socket for the grace period.

    Each open socket holds a lease in the store, and this process renews it. When a socket closes, its lease stays until
    it expires. Until then the user can reconnect to any worker without being removed, for example after the page was
    reloaded or a worker was killed. Each worker that serves a room checks all of its users. If all workers of a room
    die, the room is checked when its next guest joins, or it ends with its TTL.

    Args:
        store: the store. Its `connection_ttl` must equal the grace period.
        grace: how long a user may be disconnected.
        clock: measures the grace period.
    """

    def __init__(self, store: Store, grace: timedelta, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._grace = grace.total_seconds()
        self._leases: defaultdict[str, set[SocketLease]] = defaultdict(set)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def hold(self, room_id: str, user_id: str) -> AsyncGenerator[SocketLease]:
        """Hold a lease while a socket is open. It expires after the grace period."""
        lease = SocketLease(room_id, user_id, uuid4().hex)
        await self._store.connections.acquire(*lease.key)
        self._leases[room_id].add(lease)
        if room_id not in self._tasks:
            self._tasks[room_id] = asyncio.create_task(self._monitor(room_id))
        try:
            yield lease
        finally:
            self._leases[room_id].discard(lease)

    async def release(self, lease: SocketLease) -> None:
        """Remove the user from the room immediately, unless another socket of the user holds a lease."""
        self._leases[lease.room_id].discard(lease)
        if await self._store.connections.release(*lease.key) == 0:
            await self._store.rooms.remove_user_from_room(lease.room_id, lease.user_id)

    async def aclose(self) -> None:
        """Stop checking rooms. The leases expire in the store."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _monitor(self, room_id: str) -> None:
        """Check a room three times per grace period, until all leases of this process have expired."""

        def now() -> float:
            return self._clock.monotonic_ms() / 1000

        served = now()
        remove_from = now() + self._grace  # users of a worker that died may be reconnecting
        failing = last = False
        try:
            while not last or self._leases[room_id]:
                if self._leases[room_id]:
                    served = now()
                last = now() >= served + 2 * self._grace  # one last check, even if the process was suspended
                try:
                    await self._check_room(room_id, remove=now() >= remove_from)
                    failing = False
                except StoreError as error:
                    if not failing:
                        _logger.warning("cannot check the users of room %s, retrying: %s", room_id, error)
                    failing = True
                    remove_from = now() + self._grace  # no process could renew its leases
                if not last:  # after the last check, a lease that was acquired during it continues the loop
                    await asyncio.sleep(self._grace / 3)
        finally:
            del self._tasks[room_id]
            if not self._leases[room_id]:
                del self._leases[room_id]

    async def _check_room(self, room_id: str, *, remove: bool) -> None:
        """Renew the leases of this process, and remove users without a lease."""
        connections, rooms = self._store.connections, self._store.rooms
        leases = list(self._leases[room_id])
        await asyncio.gather(*(connections.acquire(*lease.key) for lease in leases))
        room = await rooms.get_room(room_id)
        if room is None:
            # If the room was closed, its RoomClosed event comes first: events come in the order of the commits.
            await self._store.events.publish(room_id, AppEvent(room_id=room_id, name=EXPIRED))
            return
        local = {lease.user_id for lease in leases}
        remote = [user.id for user in room.users if user.id not in local]
        counts = await asyncio.gather(*(connections.count(_client_id(room_id, user)) for user in remote))
        for user, count in zip(remote, counts, strict=True):
            if remove and count == 0:
                # A user who reconnects at this moment receives the UserLeft event and joins again.
                await rooms.remove_user_from_room(room_id, user)


def _client_id(room_id: str, user_id: str) -> str:
    return f"presence:{room_id}:{user_id}"
