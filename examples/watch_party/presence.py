"""Who is still there, over all processes: leases, and a look now and then at whose have run out."""

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
"""The name of an event of this app: the room is gone, and nobody closed it."""

_logger = logging.getLogger("uvicorn.error")


class Seat(NamedTuple):
    """The place in a room that an open socket keeps for its user."""

    room_id: str
    user_id: str
    socket_id: str

    @property
    def lease(self) -> tuple[str, str]:
        """What it is called in `store.connections`."""
        return _leases(self.room_id, self.user_id), self.socket_id


class Presence:
    """Takes users out of their rooms who have had no open socket for as long as the grace.

    Each open socket holds a lease on its user's place, in the store, and this process renews it. A socket that closes
    leaves its lease behind. Until that has run out the user may come back, to this worker or another, and nobody
    notices: a page was reloaded, a phone was in a tunnel, a worker was killed. Each worker that serves a room looks at
    all of its users. A room whose last worker died is looked at when its next guest comes, or ends with its TTL.

    Args:
        store: its leases last as long as the grace (`connection_ttl`).
        grace: how long a user may be away.
        clock: measures the grace.
    """

    def __init__(self, store: Store, grace: timedelta, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._grace = grace.total_seconds()
        self._seats: defaultdict[str, set[Seat]] = defaultdict(set)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def seat(self, room_id: str, user_id: str) -> AsyncGenerator[Seat]:
        """Keep a user's place for as long as a socket is open, and the grace after that."""
        seat = Seat(room_id, user_id, uuid4().hex)
        await self._store.connections.acquire(*seat.lease)
        self._seats[room_id].add(seat)
        if room_id not in self._tasks:
            self._tasks[room_id] = asyncio.create_task(self._look_after(room_id))
        try:
            yield seat
        finally:
            self._seats[room_id].discard(seat)

    async def give_up(self, seat: Seat) -> None:
        """Take a user out of the room at once, unless another socket keeps the place."""
        self._seats[seat.room_id].discard(seat)
        if await self._store.connections.release(*seat.lease) == 0:
            await self._store.rooms.remove_user_from_room(seat.room_id, seat.user_id)

    async def aclose(self) -> None:
        """Look no more. The leases run out by themselves."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_after(self, room_id: str) -> None:
        """Look at a room three times in a grace, until none who sat here can have left a lease behind."""

        def now() -> float:
            return self._clock.monotonic_ms() / 1000

        served = now()
        trusted_from = now() + self._grace  # who was at a worker that died may be on the way here
        failing = last = False
        try:
            while not last or self._seats[room_id]:
                if self._seats[room_id]:
                    served = now()
                last = now() >= served + 2 * self._grace  # however long the process slept, it looks once more
                try:
                    await self._look(room_id, remove=now() >= trusted_from)
                    failing = False
                except StoreError as error:
                    if not failing:
                        _logger.warning("can't look after room %s, trying again: %s", room_id, error)
                    failing = True
                    trusted_from = now() + self._grace  # nobody could renew a lease
                if not last:  # else somebody may have come during the last look
                    await asyncio.sleep(self._grace / 3)
        finally:
            del self._tasks[room_id]
            if not self._seats[room_id]:
                del self._seats[room_id]

    async def _look(self, room_id: str, *, remove: bool) -> None:
        """Renew the leases of this process, and remove users of whom nobody holds one."""
        connections, rooms = self._store.connections, self._store.rooms
        seats = list(self._seats[room_id])
        await asyncio.gather(*(connections.acquire(*seat.lease) for seat in seats))
        room = await rooms.get_room(room_id)
        if room is None:
            # A room that somebody closed was told of before: events come in the order of the commits.
            await self._store.events.publish(room_id, AppEvent(room_id=room_id, name=EXPIRED))
            return
        here = {seat.user_id for seat in seats}
        elsewhere = [user.id for user in room.users if user.id not in here]
        held = await asyncio.gather(*(connections.count(_leases(room_id, user)) for user in elsewhere))
        for user, leases in zip(elsewhere, held, strict=True):
            if remove and leases == 0:
                # Who comes back at this very moment is told of having left, and enters again.
                await rooms.remove_user_from_room(room_id, user)


def _leases(room_id: str, user_id: str) -> str:
    return f"seat:{room_id}:{user_id}"
