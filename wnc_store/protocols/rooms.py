"""Protocols of rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from typing import Protocol

from wnc_store.records.models import Room, User, VideoState


class RoomReader(Protocol):
    """The methods of `RoomStore` that only read."""

    async def get_room(self, room_id: str) -> Room | None:
        """Return the live room with this id, or None.

        Raises:
            CorruptRecordError: The stored value is not a valid room with this id.
        """
        ...

    async def get_rooms(self, room_ids: Iterable[str]) -> list[Room | None]:
        """Return the live rooms with these ids, read together instead of one after the other.

        Each room is read atomically, but two rooms may be read at different moments.

        Args:
            room_ids: Ids of rooms. An id may occur several times.

        Returns:
            One element for each id, in the same order: the room, or None if it does not exist. An unreadable room is
            None, too, and is logged once, so that it does not hide the others. `get_room` raises its error.

        Raises:
            InvalidIdError: An id is invalid. No room was read.
            TypeError: `room_ids` is a single string.
        """
        ...

    async def room_exists(self, room_id: str) -> bool:
        """Return whether a live room has this id."""
        ...

    async def room_ttl(self, room_id: str) -> timedelta | None:
        """Return the remaining TTL of a room.

        Returns:
            The remaining time, with a precision of one millisecond. None if the room does not exist. `timedelta.max` if
            the room has no TTL, because another client wrote it without one. The next write sets the TTL.
        """
        ...

    def active_room_ids(self) -> AsyncIterator[str]:
        """Iterate over the ids of all live rooms, each once, in no particular order.

        Index entries of expired rooms are skipped. A room that is created or deleted during the iteration may or may
        not be included.
        """
        ...

    def active_rooms(self) -> AsyncIterator[Room]:
        """Iterate over all live rooms, each once, in no particular order.

        The rooms are read in pages of at most 100, so that the memory of the caller does not limit their number. A room
        is as it was when its page was read. A room that is created or deleted during the iteration may or may not be
        included. An unreadable room is skipped and logged once.
        """
        ...


class RoomStore(RoomReader, Protocol):
    """Rooms, their users and their video state.

    Each write of a room increments its `rev` by one.
    """

    async def create_room(self, room: Room) -> None:
        """Store a new room with `rev` incremented by one, and add its id to the index of active rooms.

        Messages left by an earlier room with this id are deleted.

        Raises:
            RoomExistsError: A live room has this id. It is left unchanged. (The Node app overwrites it.)
            ValueError: The room contains a value that can't be stored.
        """
        ...

    async def create_room_with_code(
        self, host: User, *, length: int = 6, change: Callable[[Room], Room] | None = None
    ) -> Room:
        """Create a room whose id is a random code that no live room has.

        The code consists of `ABCDEFGHJKMNPQRSTUVWXYZ23456789`: capital letters and digits without I, L, O, 0 and 1,
        which look alike. It comes from a cryptographic random generator. Six characters make 887 million codes.

        Args:
            host: Host and only user of the room.
            length: Number of characters of the code.
            change: A pure function of the new room, for example to set a video or extra fields. If a code is in use, it
                is called again with a room that has another code. An exception that it raises propagates to the caller,
                and nothing is written.

        Returns:
            The room as written, with a random host token. Send the token only to the host.

        Raises:
            RoomExistsError: Each of 100 random codes was in use. A larger `length` makes that unlikely.
            TypeError: `change` did not return a `Room`.
            ValueError: `length` is not an integer (booleans are rejected), is below 1 or is above 128. Or `change`
                returned a room with another id. Or the host or the room contains a value that can't be stored.
        """
        ...

    async def update_room(self, room_id: str, room: Room) -> None:
        """Replace a room unconditionally. `rev` continues from the stored room.

        Raises:
            RoomNotFoundError: The room does not exist. No room is created. (The Node app creates one.)
            ValueError: `room.id` differs from `room_id`, or the room contains a value that can't be stored.
        """
        ...

    async def edit_room(self, room_id: str, change: Callable[[Room], Room]) -> Room:
        """Replace a room by the result of a function of its current content, atomically.

        Args:
            room_id: Id of the room.
            change: A pure function, which is not async. It is called again with the newer room after each concurrent
                change. An exception that it raises propagates to the caller, and nothing is written.

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
            TypeError: `change` is async, or did not return a `Room`.
            ValueError: `change` returned a room with another id, or a room that can't be stored.
        """
        ...

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room, its chat and its entry in the index of active rooms. A chat without a room is deleted, too.

        Returns:
            True if this call deleted the room. False if the room did not exist. Of several concurrent calls, only
            one returns True.
        """
        ...

    async def add_user_to_room(self, room_id: str, user: User) -> Room:
        """Append a user to the users of a room. A user with the same id is removed first (a rejoin).

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            ValueError: The user contains a value that can't be stored.
        """
        ...

    async def remove_user_from_room(self, room_id: str, user_id: str) -> Room | None:
        """Remove a user from a room. Nothing changes if the user is not in the room.

        - If no user remains, the room is deleted as by `delete_room`. With the setting `empty_room_ttl`, it waits for
          users instead (see below).
        - If the host leaves, the first remaining user becomes host: `host_id`, `host_name` and the user's `is_host`
          change, `host_token` does not.

        With `empty_room_ttl`, a room that its last user leaves waits for users. It stays listed, without users and with
        the extra field `isWaiting`. Its TTL and that of its chat are `empty_room_ttl`, and each later write of the room
        renews both, until a user joins. Then the TTLs are `room_ttl` and `chat_ttl` again. If the former host is the
        first to join, they are host again. Otherwise the first user to join becomes host: `host_id`, `host_name` and
        the user's `is_host` change, `host_token` does not. A room that was created without users does not wait.

        Any other write whose result has users ends the wait in the same way: an edit that adds users, or the first
        write after another client has added users and kept `isWaiting`. If the former host is among the users, they are
        host. Otherwise the first user becomes host.

        Returns:
            The room after the removal. None if the room was deleted or did not exist.
        """
        ...

    async def transfer_host(self, room_id: str, user_id: str, *, rotate_token: bool = False) -> Room:
        """Make a user of the room its host and clear `is_host` of the previous host. Other users keep their `is_host`.

        Args:
            room_id: Id of the room.
            user_id: Id of the new host.
            rotate_token: Whether to replace the host token as by `rotate_host_token`, in the same write. By default the
                token stays, as in the Node app, so that the previous host still knows a valid token.

        Returns:
            The room as written. If `rotate_token` is true, its `host_token` is the new token.

        Raises:
            RoomNotFoundError: The room does not exist.
            UserNotFoundError: The user is not in the room.
        """
        ...

    async def rotate_host_token(self, room_id: str) -> str:
        """Replace the host token of a room by a random one. The previous token is no longer valid.

        Also a room without a host token gets one. If several calls run concurrently, the token of the last commit is
        valid. After `OutcomeUnknownError`, either token may be valid: call the method again.

        Returns:
            The new token, with a masked `repr`. Pass it only to the host.

        Raises:
            RoomNotFoundError: The room does not exist.
        """
        ...

    async def update_video_state(self, room_id: str, state: VideoState) -> Room:
        """Replace the video state of a room.

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            ValueError: The state contains a value that can't be stored.
        """
        ...

    async def set_video_url(self, room_id: str, video_url: str, video_type: str = "youtube") -> Room:
        """Set the video of a room and reset the video state: paused, position 0 s, duration 0 s, updated now.

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            ValueError: `video_url` or `video_type` is not a string.
        """
        ...

    async def sweep_active_rooms(self) -> int:
        """Remove the entries of expired rooms from the index. A room created during the sweep stays listed.

        Returns:
            Number of entries removed by this call.
        """
        ...
