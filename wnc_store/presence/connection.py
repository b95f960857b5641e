"""Open connections, and their state inside `Presence`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from wnc_store.presence.membership import Keys, Member, keys_of
from wnc_store.records.models import Room


@dataclass(eq=False)
class ConnectionState:
    """The state of a connection.

    Attributes:
        may_be_in_room: Whether the user may be in the room because of this connection.
        leaving: The number of calls of `Connection.leave` in progress.
        has_left: Whether `Connection.leave` has succeeded.
        closed: Whether the context of the connection was left.
        removed: Set while the user is missing from the room, as of the last read.
        lock: Held while a lease of the connection changes, so that no renewal follows the release.
    """

    member: Member
    id: str = field(default_factory=lambda: uuid4().hex)
    may_be_in_room: bool = False
    leaving: int = 0
    has_left: bool = False
    closed: bool = False
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.keys: Keys = keys_of(self.member)


class Connection:
    """An open connection of a user to a room, from `Presence.connected`.

    Attributes:
        id: Unique id of the connection.
        room_id: Id of the room.
        user_id: Id of the user.
        room: The room when the connection was opened. It contains the user. To miss no event, subscribe to the events
            of the room before you open the connection.
    """

    def __init__(self, state: ConnectionState, room: Room, leave: Callable[[], Awaitable[bool]]) -> None:
        self.id = state.id
        self.room_id, self.user_id = state.member
        self.room = room
        self._removed = state.removed
        self._leave = leave

    async def leave(self) -> bool:
        """End this connection now, and remove the user from the room unless the user has another open connection.

        Call it when the user leaves deliberately. To remove a user who has several open connections, call
        `store.rooms.remove_user_from_room`.

        Returns:
            True if the user is no longer in the room. False if the user has another open connection.

        Raises:
            StoreError: The store failed. The connection stays open until its context is left.
        """
        return await self._leave()

    async def wait_removed(self) -> None:
        """Wait until the user is found missing from the room, although the connection is open.

        The user was removed, for example kicked, or the room was deleted or has expired. Each process reads the rooms
        of its connections three times per grace period, so this needs no events. A user who joins again through another
        connection in between is not found missing. After the user was added again, the method waits for the next time.
        """
        await self._removed.wait()

    async def run_until_removed(self, operation: Coroutine[Any, Any, object]) -> bool:
        """Run a coroutine, and cancel it when `wait_removed` returns.

        Returns:
            True if the coroutine was cancelled because the user is missing from the room. False if it returned.

        Raises:
            Exception: An error of the coroutine, also of its cleanup after a cancellation.
            CancelledError: The caller was cancelled, or the coroutine for another reason than the removal.
        """
        running, waiting = asyncio.create_task(operation), asyncio.create_task(self.wait_removed())
        running.add_done_callback(retrieve_error)
        try:
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            running.cancel()
            waiting.cancel()
            await asyncio.wait([running, waiting])
            if not running.cancelled():
                running.result()
        if running.cancelled() and not waiting.cancelled():
            return True
        running.result()
        return False


def retrieve_error(task: asyncio.Future[Any]) -> None:
    """Retrieve the error of a task that is done, so that asyncio does not log it if nobody waits for the task."""
    if not task.cancelled():
        task.exception()
