"""Room store with seven primitives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from typing import NoReturn

from wnc_store import rules
from wnc_store.base.codes import new_room_code
from wnc_store.base.decode import SkippedValueLog
from wnc_store.base.events import ChangeEvents
from wnc_store.base.ids import check_id
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.pages import pages
from wnc_store.base.size_limits import SizeLimits, check_depth
from wnc_store.base.ttls import RoomTtls
from wnc_store.clock import Clock
from wnc_store.errors import CorruptRecordError, RoomExistsError, RoomNotFoundError
from wnc_store.records.codec import validated
from wnc_store.records.models import Room, User, VideoState
from wnc_store.records.secret import new_host_token
from wnc_store.settings import StoreSettings

Transition = Callable[[Room], Room | None]
"""A function that takes the current room and returns the new one.

If it returns the same object, nothing changes. If it returns None, the room is deleted.
"""


_MAX_CODES = 100
"""Number of random codes that `create_room_with_code` tries."""

_PAGE_SIZE = 100
"""Number of rooms that `active_rooms` reads together."""


class BaseRoomStore(ABC):
    """`RoomStore` with seven primitives. The contract of the public methods is in `RoomStore`."""

    def __init__(self, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._clock = clock
        self._lifecycle = lifecycle
        self._limits = SizeLimits(settings)
        self._change_events = ChangeEvents(settings)
        self._ttls = RoomTtls(settings)
        self._skipped = SkippedValueLog()

    @abstractmethod
    async def _get(self, room_id: str) -> Room | None:
        """Return the live room with this id, or None."""

    @abstractmethod
    async def _create(self, room: Room) -> bool:
        """Atomically store a new room with its full TTL, add it to the index and delete the chat with its id.

        If a live room has this id, change nothing.

        Returns:
            Whether the room was stored.
        """

    @abstractmethod
    async def _update(self, room_id: str, transition: Transition, /) -> Room | None:
        """Atomically apply a transition to a live room. `CompareAndSetRoomStore` implements this by compare-and-set.

        Call the transition on the current room. If another client changes the room before the commit, call it again on
        the newer room. If the transition raises or returns the same object, change nothing and do not renew the TTL. If
        it returns None, delete the room, its chat and its index entry. Otherwise store the new room with the TTL
        `self._ttls.room(after)`, and keep it in the index. In the same step, set the TTL of its chat to
        `self._ttls.chat(before, after)`, unless that is None.

        Returns:
            The result of the transition. None if the room does not exist.

        Raises:
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
        """

    @abstractmethod
    async def _delete(self, room_id: str) -> bool:
        """Atomically delete a room, its chat and its index entry. Return whether the room was live."""

    @abstractmethod
    async def _get_ttl(self, room_id: str) -> timedelta | None:
        """Return the remaining TTL of a room, with the special values of `RoomReader.room_ttl`."""

    @abstractmethod
    def _iter_ids(self) -> AsyncIterator[str]:
        """Iterate over the ids of the live rooms. See `RoomReader.active_room_ids`."""

    @abstractmethod
    async def _prune_index(self) -> int:
        """Remove the index entries of expired rooms and return their number. See `RoomStore.sweep_active_rooms`.

        If this takes several batches, return `sum_batches(batches)`, which reports what a failed sweep removed.
        """

    async def _get_many(self, room_ids: Sequence[str]) -> Sequence[Room | CorruptRecordError | None]:
        """Return the result of `_get` for each id: a room, None, or the error of an unreadable room. No id repeats.

        By default, call `_get` for one id after the other. Override this method if the backend can read several rooms
        in one round trip.
        """
        return [await self._get_or_error(room_id) for room_id in room_ids]

    def _iter_indexed_ids(self) -> AsyncIterator[str]:
        """Iterate over the ids that `active_rooms` reads: those of all live rooms, once each, and perhaps expired ones.

        By default, call `_iter_ids`. Override this method if ids are cheaper without a check for expired rooms.
        """
        return self._iter_ids()

    async def create_room(self, room: Room) -> None:
        """See `RoomStore.create_room`."""
        room = validated(room, Room)
        self._lifecycle.check(("room id", room.id))
        if not await self._create(self._validate_room(None, rules.create(room))):
            raise RoomExistsError(room.id)

    async def create_room_with_code(
        self, host: User, *, length: int = 6, change: Callable[[Room], Room] | None = None
    ) -> Room:
        """See `RoomStore.create_room_with_code`."""
        self._lifecycle.ensure_open()
        host, code = validated(host, User), ""
        for _ in range(_MAX_CODES):
            code = new_room_code(length)
            room = Room.hosted_by(host, room_id=code)
            room = self._validate_room(None, rules.create(room) if change is None else rules.edit(room, change))
            if await self._create(room):
                return room
        hint = f"{_MAX_CODES} random codes of length {length} were in use, so increase length"
        raise RoomExistsError(code, hint=hint)

    async def get_room(self, room_id: str) -> Room | None:
        """See `RoomReader.get_room`."""
        self._lifecycle.check(("room id", room_id))
        return await self._get(room_id)

    async def get_rooms(self, room_ids: Iterable[str]) -> list[Room | None]:
        """See `RoomReader.get_rooms`."""
        if isinstance(room_ids, str):
            message = f"room_ids must be an iterable of ids, got the string {room_ids!r}: pass [{room_ids!r}]"
            raise TypeError(message)
        ids = list(room_ids)
        self._lifecycle.ensure_open()
        for room_id in ids:
            check_id("room id", room_id)
        rooms = await self._get_readable(list(dict.fromkeys(ids)))
        return [rooms.get(room_id) for room_id in ids]

    async def update_room(self, room_id: str, room: Room) -> None:
        """See `RoomStore.update_room`."""
        self._lifecycle.check(("room id", room_id))
        new = validated(room, Room)
        if new.id != room_id:
            message = f"room.id must be {room_id!r}, got {new.id!r}: the id of a room can't be changed"
            raise ValueError(message)
        after = await self._update(room_id, lambda room: self._validate_room(room, rules.replace(room, new)))
        if after is None:
            _raise_not_found(room_id)

    async def edit_room(self, room_id: str, change: Callable[[Room], Room]) -> Room:
        """See `RoomStore.edit_room`."""
        self._lifecycle.check(("room id", room_id))
        after = await self._update(room_id, lambda room: self._validate_room(room, rules.edit(room, change)))
        return after or _raise_not_found(room_id)

    async def delete_room(self, room_id: str) -> bool:
        """See `RoomStore.delete_room`."""
        self._lifecycle.check(("room id", room_id))
        return await self._delete(room_id)

    async def room_exists(self, room_id: str) -> bool:
        """See `RoomReader.room_exists`."""
        self._lifecycle.check(("room id", room_id))
        return await self._get_ttl(room_id) is not None

    async def add_user_to_room(self, room_id: str, user: User) -> Room:
        """See `RoomStore.add_user_to_room`."""
        self._lifecycle.check(("room id", room_id))
        user = validated(user, User)
        self._lifecycle.check(("user id", user.id))
        if user.__pydantic_extra__:
            check_depth(user)
        self._limits.check_user(user)
        after = await self._update(room_id, lambda room: self._limits.check_growth(room, rules.join(room, user)))
        return after or _raise_not_found(room_id)

    async def remove_user_from_room(self, room_id: str, user_id: str) -> Room | None:
        """See `RoomStore.remove_user_from_room`."""
        self._lifecycle.check(("room id", room_id), ("user id", user_id))
        if self._settings.empty_room_ttl is None:
            return await self._update(room_id, lambda room: rules.leave(room, user_id))
        return await self._update(room_id, lambda room: rules.leave(room, user_id, keep_empty=True))

    async def transfer_host(self, room_id: str, user_id: str, *, rotate_token: bool = False) -> Room:
        """See `RoomStore.transfer_host`."""
        self._lifecycle.check(("room id", room_id), ("user id", user_id))
        token = new_host_token() if rotate_token else None

        def transfer(room: Room) -> Room:
            if token is None:
                return rules.transfer_host(room, user_id)
            return self._limits.check_growth(room, rules.transfer_host(room, user_id, host_token=token))

        return await self._update(room_id, transfer) or _raise_not_found(room_id)

    async def rotate_host_token(self, room_id: str) -> str:
        """See `RoomStore.rotate_host_token`."""
        self._lifecycle.check(("room id", room_id))
        token = new_host_token()
        after = await self._update(
            room_id, lambda room: self._limits.check_growth(room, rules.rotate_host_token(room, token))
        )
        return token if after is not None else _raise_not_found(room_id)

    async def update_video_state(self, room_id: str, state: VideoState) -> Room:
        """See `RoomStore.update_video_state`."""
        self._lifecycle.check(("room id", room_id))
        state = validated(state, VideoState)
        if state.__pydantic_extra__:
            check_depth(state)
        after = await self._update(
            room_id, lambda room: self._limits.check_growth(room, rules.update_video_state(room, state))
        )
        return after or _raise_not_found(room_id)

    async def set_video_url(self, room_id: str, video_url: str, video_type: str = "youtube") -> Room:
        """See `RoomStore.set_video_url`."""
        self._lifecycle.check(("room id", room_id))
        for name, value in (("video_url", video_url), ("video_type", video_type)):
            if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped callers
                message = f"{name} must be a string, got {type(value).__name__}"
                raise ValueError(message)  # noqa: TRY004 - the contract: a value that can't be stored
        self._limits.check_url(video_url)
        now_ms = self._clock.now_ms()
        after = await self._update(
            room_id,
            lambda room: self._limits.check_growth(room, rules.set_video(room, video_url, video_type, now_ms=now_ms)),
        )
        return after or _raise_not_found(room_id)

    async def room_ttl(self, room_id: str) -> timedelta | None:
        """See `RoomReader.room_ttl`."""
        self._lifecycle.check(("room id", room_id))
        return await self._get_ttl(room_id)

    async def active_room_ids(self) -> AsyncIterator[str]:
        """See `RoomReader.active_room_ids`."""
        self._lifecycle.ensure_open()
        async for room_id in self._iter_ids():
            self._lifecycle.ensure_open()
            yield room_id

    async def active_rooms(self) -> AsyncIterator[Room]:
        """See `RoomReader.active_rooms`."""
        self._lifecycle.ensure_open()
        async for page in pages(self._iter_indexed_ids(), _PAGE_SIZE):
            for room in (await self._get_readable(page)).values():
                self._lifecycle.ensure_open()
                yield room

    async def sweep_active_rooms(self) -> int:
        """See `RoomStore.sweep_active_rooms`."""
        self._lifecycle.ensure_open()
        return await self._prune_index()

    async def _get_readable(self, room_ids: Sequence[str]) -> dict[str, Room]:
        """Return the live rooms among these ids, in the same order. Log the unreadable ones."""
        rooms: dict[str, Room] = {}
        for room_id, found in zip(room_ids, await self._get_many(room_ids) if room_ids else (), strict=True):
            if isinstance(found, CorruptRecordError):
                self._skipped.warn("room", found.key, found.reason.encode("utf-8", "replace"), found)
            elif found is not None:
                rooms[room_id] = found
        return rooms

    async def _get_or_error(self, room_id: str) -> Room | CorruptRecordError | None:
        try:
            return await self._get(room_id)
        except CorruptRecordError as error:
            return error

    def _validate_room(self, before: Room | None, after: Room) -> Room:
        """Check the ids, depth and sizes of a room made by a caller. Values that `before` contains are accepted."""
        known: set[str] = set() if before is None else {before.host_id, *(user.id for user in before.users)}
        for user_id in {after.host_id, *(user.id for user in after.users)} - known:
            check_id("user id", user_id)
        check_depth(after, before)
        return self._limits.check_room(before, after)


def _raise_not_found(room_id: str) -> NoReturn:
    raise RoomNotFoundError(room_id)
