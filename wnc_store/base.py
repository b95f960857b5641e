"""The methods of the protocols, written once over a few storage primitives.

A backend subclasses these and writes the primitives (the methods that begin with an underscore). The atomic ones have
no default, because a default could only be racy.
"""

from __future__ import annotations

import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Generic, Self, TypeVar

from cachetools import LRUCache

from wnc_store import rules
from wnc_store.clock import Clock
from wnc_store.errors import ConflictError, CorruptRecordError, RoomExistsError, RoomNotFoundError, StoreClosedError
from wnc_store.ids import check_id
from wnc_store.models import ChatMessage, Room, User, VideoState
from wnc_store.settings import StoreSettings
from wnc_store.wire import checked, from_wire

VersionT = TypeVar("VersionT")
_logger = logging.getLogger("wnc_store")


class Lifecycle:
    """Whether a store is open; shared by the store and its parts."""

    def __init__(self) -> None:
        self.closed = False

    def ensure_open(self) -> None:
        """Return if the store is open.

        Raises:
            StoreClosedError: it is not.
        """
        if self.closed:
            raise StoreClosedError


@dataclass(frozen=True, slots=True)
class StoredRoom(Generic[VersionT]):
    """A room as it was read, and what tells this state of it from every other: its bytes, a revision, ..."""

    room: Room
    version: VersionT


@dataclass(frozen=True, slots=True)
class Conflict(Generic[VersionT]):
    """Why a commit did not happen: the room is by now in another state, or gone (None)."""

    current: StoredRoom[VersionT] | None


class BaseRoomStore(ABC, Generic[VersionT]):
    """`RoomStore` over seven primitives. The rules are in `rules`; the law is in `RoomStore`."""

    def __init__(self, settings: StoreSettings, clock: Clock, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._clock = clock
        self._lifecycle = lifecycle

    @abstractmethod
    async def _load(self, room_id: str) -> StoredRoom[VersionT] | None:
        """Return the live room of that id, or None."""

    @abstractmethod
    async def _insert(self, room: Room) -> bool:
        """Atomically, if no live room has that id: store it with its full TTL, list it, drop the chat of that id.

        Returns:
            Whether it was stored.
        """

    @abstractmethod
    async def _commit(self, before: StoredRoom[VersionT], after: Room | None) -> Conflict[VersionT] | None:
        """Atomically, if the room still is as it was `before`: replace it by `after`, with its full TTL, and list it.

        `after` None: delete it, its chat and its entry in the index instead.

        Returns:
            None when that is done, else the state that was found; then nothing was written.
        """

    @abstractmethod
    async def _remove(self, room_id: str) -> bool:
        """Atomically delete a room, its chat and its entry in the index; tell whether there was a live room."""

    @abstractmethod
    async def _ttl(self, room_id: str) -> timedelta | None:
        """Return what is left of the TTL, as `RoomReader.room_ttl` says."""

    @abstractmethod
    def _list(self) -> AsyncIterator[str]:
        """Yield the ids of the live rooms, as `RoomReader.active_room_ids` says."""

    @abstractmethod
    async def _sweep(self) -> int:
        """Remove the index entries of dead rooms, as `RoomStore.sweep_active_rooms` says."""

    async def create_room(self, room: Room) -> None:
        """See `RoomStore.create_room`."""
        room = checked(room, Room)
        self._check(room.id)
        for user in room.users:
            check_id("user", user.id)
        if not await self._insert(rules.create(room)):
            raise RoomExistsError(room.id)

    async def get_room(self, room_id: str) -> Room | None:
        """See `RoomReader.get_room`."""
        self._check(room_id)
        stored = await self._load(room_id)
        return stored and stored.room

    async def update_room(self, room_id: str, room: Room) -> None:
        """See `RoomStore.update_room`."""
        self._check(room_id)
        new = checked(room, Room)
        if new.id != room_id:
            message = f"a room of id {new.id!r} can't replace room {room_id!r}"
            raise ValueError(message)
        await self._mutate_live(room_id, lambda current: rules.replace(current, new))

    async def edit_room(self, room_id: str, change: Callable[[Room], Room]) -> Room:
        """See `RoomStore.edit_room`."""
        self._check(room_id)
        return await self._mutate_live(room_id, lambda room: rules.edit(room, change))

    async def delete_room(self, room_id: str) -> bool:
        """See `RoomStore.delete_room`."""
        self._check(room_id)
        return await self._remove(room_id)

    async def room_exists(self, room_id: str) -> bool:
        """See `RoomReader.room_exists`."""
        self._check(room_id)
        return await self._ttl(room_id) is not None

    async def add_user_to_room(self, room_id: str, user: User) -> Room:
        """See `RoomStore.add_user_to_room`."""
        self._check(room_id)
        user = checked(user, User)
        check_id("user", user.id)
        return await self._mutate_live(room_id, lambda room: rules.join(room, user))

    async def remove_user_from_room(self, room_id: str, user_id: str) -> Room | None:
        """See `RoomStore.remove_user_from_room`."""
        self._check(room_id)
        check_id("user", user_id)
        return await self._mutate(room_id, lambda room: rules.leave(room, user_id))

    async def transfer_host(self, room_id: str, user_id: str) -> Room:
        """See `RoomStore.transfer_host`."""
        self._check(room_id)
        check_id("user", user_id)
        return await self._mutate_live(room_id, lambda room: rules.transfer_host(room, user_id))

    async def update_video_state(self, room_id: str, state: VideoState) -> Room:
        """See `RoomStore.update_video_state`."""
        self._check(room_id)
        state = checked(state, VideoState)
        return await self._mutate_live(room_id, lambda room: rules.update_video_state(room, state))

    async def set_video_url(self, room_id: str, video_url: str, video_type: str = "youtube") -> Room:
        """See `RoomStore.set_video_url`."""
        self._check(room_id)
        now_ms = self._clock.now_ms()
        return await self._mutate_live(
            room_id, lambda room: checked(rules.set_video(room, video_url, video_type, now_ms=now_ms), Room)
        )

    async def room_ttl(self, room_id: str) -> timedelta | None:
        """See `RoomReader.room_ttl`."""
        self._check(room_id)
        return await self._ttl(room_id)

    async def active_room_ids(self) -> AsyncIterator[str]:
        """See `RoomReader.active_room_ids`."""
        self._lifecycle.ensure_open()
        async for room_id in self._list():
            yield room_id

    async def sweep_active_rooms(self) -> int:
        """See `RoomStore.sweep_active_rooms`."""
        self._lifecycle.ensure_open()
        return await self._sweep()

    async def _mutate(self, room_id: str, rule: Callable[[Room], Room | None]) -> Room | None:
        """Apply a rule to a live room by compare-and-commit; None if there is no room, before or after it."""
        start = time.monotonic()
        deadline = start + self._settings.operation_timeout.total_seconds()
        attempts = 0
        current = await self._load(room_id)
        while current is not None:
            after = rule(current.room)
            if after is current.room:
                return after
            conflict = await self._commit(current, after)
            if conflict is None:
                return after
            attempts += 1
            now = time.monotonic()
            if now + (now - start) / attempts > deadline:  # there is no time for one more
                raise ConflictError(room_id, attempts)
            current = conflict.current
        return None

    async def _mutate_live(self, room_id: str, rule: Callable[[Room], Room]) -> Room:
        room = await self._mutate(room_id, rule)
        if room is None:
            raise RoomNotFoundError(room_id)
        return room

    def _check(self, room_id: str) -> None:
        self._lifecycle.ensure_open()
        check_id("room", room_id)


class BaseChatStore(ABC):
    """`ChatStore` over four primitives. The law is in `ChatStore`."""

    def __init__(self, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._logged: LRUCache[bytes, None] = LRUCache(maxsize=1024)

    @abstractmethod
    async def _append(self, message: ChatMessage) -> None:
        """Atomically do what `rules.append` says to the chat of the message's room, with its full TTL."""

    @abstractmethod
    async def _read(self, room_id: str) -> Sequence[ChatMessage]:
        """Return the kept messages that can be read, oldest first; see `_decode` for stored bytes."""

    @abstractmethod
    async def _clear(self, room_id: str) -> None:
        """Delete the chat."""

    @abstractmethod
    async def _ttl(self, room_id: str) -> timedelta | None:
        """Return what is left of the TTL, as `RoomReader.room_ttl` says."""

    async def add_message(self, message: ChatMessage) -> None:
        """See `ChatStore.add_message`."""
        message = checked(message, ChatMessage)
        self._check(message.room_id)
        check_id("message", message.id)
        await self._append(message)

    async def get_messages(self, room_id: str, limit: int | None = None) -> list[ChatMessage]:
        """See `ChatReader.get_messages`."""
        self._check(room_id)
        if limit is not None and limit < 0:
            message = f"limit is the number of newest messages wanted, 0 or more, not {limit}"
            raise ValueError(message)
        kept = await self._read(room_id)
        return list(kept if limit is None else kept[max(0, len(kept) - limit) :])

    async def clear_messages(self, room_id: str) -> None:
        """See `ChatStore.clear_messages`."""
        self._check(room_id)
        await self._clear(room_id)

    async def chat_ttl(self, room_id: str) -> timedelta | None:
        """See `ChatReader.chat_ttl`."""
        self._check(room_id)
        return await self._ttl(room_id)

    def _decode(self, key: str, entries: Iterable[bytes]) -> list[ChatMessage]:
        """Return the messages that stored entries hold; one that can't be read is left out and logged once."""
        messages: list[ChatMessage] = []
        for entry in entries:
            try:
                messages.append(from_wire(ChatMessage, entry, key=key))
            except CorruptRecordError as error:
                digest = hashlib.blake2b(entry, key=key.encode()[:64], digest_size=16).digest()
                if digest not in self._logged:
                    self._logged[digest] = None
                    _logger.warning("left out a chat entry: %s", error)
        return messages

    def _check(self, room_id: str) -> None:
        self._lifecycle.ensure_open()
        check_id("room", room_id)


class BaseStore(ABC):
    """`Store` without its rooms and chat. The law is in `Store`."""

    def __init__(self) -> None:
        self._lifecycle = Lifecycle()

    @abstractmethod
    async def _ping(self) -> None:
        """Return if the store can serve."""

    @abstractmethod
    async def _close(self) -> None:
        """Release what this store opened; called once."""

    @property
    def closed(self) -> bool:
        """See `Store.closed`."""
        return self._lifecycle.closed

    async def ping(self) -> None:
        """See `Store.ping`."""
        self._lifecycle.ensure_open()
        await self._ping()

    async def aclose(self) -> None:
        """See `Store.aclose`."""
        if not self._lifecycle.closed:
            self._lifecycle.closed = True
            await self._close()

    async def __aenter__(self) -> Self:
        """Return the store."""
        self._lifecycle.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        await self.aclose()
