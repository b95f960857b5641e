"""The law: what every backend guarantees. The contract suite (`wnc_store_contract`) checks it.

All of it holds for every method:

- Ids are 1-128 characters of `A-Z a-z 0-9 _ - . :`; anything else raises `InvalidIdError` before anything is sent.
- Every method is atomic: it happens as a whole or not at all, also among concurrent callers and clients.
- What a method that returned has written, every call that begins later finds, through whatever client of the same data.
- What is written is read back as it was: text character by character, integers digit by digit.
- A caller who is cancelled gets the `CancelledError`; what was to be written then is written as a whole or not at all.
- Every write gives what it wrote its full TTL again. Reading never extends life. A record is gone when its TTL ends.
- An error from a write means that it did not happen, except `OutcomeUnknownError`.
- Every method may raise `StoreUnavailableError` (and its kinds), `ConfigurationError` where the server refuses user or
  set-up, `StoreClosedError` after `aclose()`, `CorruptRecordError` where a record can't be read, and any other
  `StoreError` that a server makes necessary. A method that a backend lacks raises `NotSupportedError`.
- What a caller writes larger than the settings allow raises `LimitExceededError`, and nothing is written. What is only
  read, or only carried along, is never refused for its size.
- Fields that the models do not declare survive every operation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

from wnc_store.clock import Clock
from wnc_store.events import RoomEvents
from wnc_store.health import HealthReport
from wnc_store.rate_limit import RateLimitDecision
from wnc_store.records.models import ChatMessage, Room, User, VideoState
from wnc_store.settings import StoreSettings


class RoomReader(Protocol):
    """What a caller needs that only looks at rooms."""

    async def get_room(self, room_id: str) -> Room | None:
        """Return the live room of that id, or None.

        Raises:
            CorruptRecordError: what is stored can't be read as this room; it is never taken for absent.
        """
        ...

    async def room_exists(self, room_id: str) -> bool:
        """Tell whether a live room has that id."""
        ...

    async def room_ttl(self, room_id: str) -> timedelta | None:
        """Return how long the room still lives without another write, in milliseconds' precision.

        None if there is no such live room. `timedelta.max` if it never expires, as a foreign writer may have left it;
        the next write mends that.
        """
        ...

    def active_room_ids(self) -> AsyncIterator[str]:
        """Yield the id of each live room once, in no particular order.

        Only live rooms, whatever the index holds. Rooms that come or go meanwhile may or may not be among them.
        """
        ...


class RoomStore(RoomReader, Protocol):
    """Rooms, their users and their video state."""

    async def create_room(self, room: Room) -> None:
        """Store a new room, its `rev` raised by one, and list it among the active ones.

        Chat left behind by an earlier room of that id is gone.

        Raises:
            RoomExistsError: a live room has that id; it stays as it is (the original overwrites it).
            ValueError: the room holds what can't be stored.
        """
        ...

    async def update_room(self, room_id: str, room: Room) -> None:
        """Replace all of a room, whatever it holds by now; only `rev` counts on.

        Raises:
            RoomNotFoundError: there is no such live room; none is made (the original resurrects a ghost).
            ValueError: `room.id` is not `room_id`, or the room holds what can't be stored.
        """
        ...

    async def edit_room(self, room_id: str, change: Callable[[Room], Room]) -> Room:
        """Read a room, change it and write it, atomically; return what was written.

        Args:
            room_id: the room.
            change: a pure function; called again with the newer room when somebody else was faster. What it raises is
                raised here, and nothing is written.

        Raises:
            RoomNotFoundError: there is no such live room.
            ConflictError: others were faster for as long as `operation_timeout`.
            TypeError: `change` returned no Room.
            ValueError: `change` returned a room of another id, or one that can't be stored.
        """
        ...

    async def delete_room(self, room_id: str) -> bool:
        """Delete a room, its chat and its place among the active rooms together; a chat without a room, too.

        Returns:
            True for the one caller that removed the room, False if there was none.
        """
        ...

    async def add_user_to_room(self, room_id: str, user: User) -> Room:
        """Put a user at the end of the room's users; one of the same id is removed first (a rejoin).

        Raises:
            RoomNotFoundError: there is no such live room.
            ValueError: the user holds what can't be stored.
        """
        ...

    async def remove_user_from_room(self, room_id: str, user_id: str) -> Room | None:
        """Take a user out of a room.

        The last one out deletes the room, as `delete_room` does. If the host left, the first of the others becomes
        host: `host_id`, `host_name` and the user's `is_host`; the host token stays. A user who is not in the room
        changes nothing.

        Returns:
            The room, or None if there is none (any more).
        """
        ...

    async def transfer_host(self, room_id: str, user_id: str) -> Room:
        """Make a user of the room its host. The host until now is none any more; other hosts stay hosts.

        Raises:
            RoomNotFoundError: there is no such live room.
            UserNotFoundError: the user is not in the room.
        """
        ...

    async def update_video_state(self, room_id: str, state: VideoState) -> Room:
        """Replace the video state.

        Raises:
            RoomNotFoundError: there is no such live room.
            ValueError: the state holds what can't be stored.
        """
        ...

    async def set_video_url(self, room_id: str, video_url: str, video_type: str = "youtube") -> Room:
        """Choose a video and reset the video state: paused, at 0 of 0 seconds, as of now.

        Raises:
            RoomNotFoundError: there is no such live room.
            ValueError: URL or type is no string.
        """
        ...

    async def sweep_active_rooms(self) -> int:
        """Remove what the index still holds of rooms that are dead; a room created meanwhile stays listed.

        Returns:
            How many entries this call removed.
        """
        ...


class ChatReader(Protocol):
    """What a caller needs that only looks at chats."""

    async def get_messages(self, room_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return the kept messages of a room, oldest first.

        An entry that can't be read is left out and logged once.

        Args:
            room_id: the room; it need not live.
            limit: only the newest so many.

        Raises:
            ValueError: `limit` is negative.
        """
        ...

    async def chat_ttl(self, room_id: str) -> timedelta | None:
        """Return how long the chat still lives without another message; None and `timedelta.max` as in `room_ttl`."""
        ...


class ChatStore(ChatReader, Protocol):
    """The last messages of each room. As in the original, a chat needs no live room; a room's deletion deletes it."""

    async def add_message(self, message: ChatMessage) -> None:
        """Append a message to its room's chat and keep the last `chat_history_limit`.

        A message whose id is already among the kept ones changes nothing, so that a retry is safe.

        Raises:
            ValueError: the message holds what can't be stored.
        """
        ...

    async def clear_messages(self, room_id: str) -> None:
        """Forget a room's messages."""
        ...


class ConnectionCounter(Protocol):
    """How many connections a client has, say an IP address, over all processes.

    A connection is a lease: it ends after `connection_ttl` unless it is acquired again, so a process that crashes leaks
    nothing. On a server the leases go by the server's clock.
    """

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """Begin or renew a lease; acquiring what one has renews it and is never refused.

        Args:
            key: whose connections are counted; an id.
            connection_id: unique among the connections of that key; an id.
            limit: with it, the lease is refused where so many others are held, in one step with the count.

        Returns:
            How many leases of that key are held by now.

        Raises:
            LimitExceededError: `limit` others are held; nothing changed.
            ValueError: `limit` is no int (a bool is none), or less than 1.
        """
        ...

    async def release(self, key: str, connection_id: str) -> int:
        """End a lease; ending one that is not held changes nothing. Return how many are held by now."""
        ...

    async def count(self, key: str) -> int:
        """Return how many leases of a key are held. Counting renews nothing."""
        ...


class RateLimiter(Protocol):
    """Fixed windows: the first hit of a key begins one, and when it ends, the count ends with it.

    Every hit counts, also one that is not allowed. There is never a count without an end: one that another writer left
    without is given a whole window by the next hit.
    """

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """Count a hit, in one step, and tell whether it is within `rate_limit_max`.

        Args:
            key: who hits; an id.
            cost: how many hits this one counts for.

        Raises:
            ValueError: `cost` is no int (a bool is none), less than 1, or more than 10^9; nothing was counted.
            CorruptRecordError: the key holds something that is no count.
        """
        ...

    async def peek(self, key: str) -> RateLimitDecision:
        """Tell whether one more hit would be allowed, without counting it."""
        ...

    async def reset(self, key: str) -> None:
        """Forget the count of a key."""
        ...


class Store(Protocol):
    """One store: what an app injects. An async context manager that closes itself."""

    @property
    def rooms(self) -> RoomStore:
        """The rooms."""
        ...

    @property
    def chat(self) -> ChatStore:
        """The chats."""
        ...

    @property
    def connections(self) -> ConnectionCounter:
        """The connections."""
        ...

    @property
    def rate_limits(self) -> RateLimiter:
        """The rate limits."""
        ...

    @property
    def events(self) -> RoomEvents:
        """The events."""
        ...

    @property
    def closed(self) -> bool:
        """Whether `aclose()` was called."""
        ...

    async def ping(self) -> None:
        """Return if the store can serve.

        Raises:
            StoreUnavailableError: it can't.
        """
        ...

    async def health(self) -> HealthReport:
        """Look at the server, at its set-up, and whether guards count in memory. What is wrong is told, not raised.

        Raises:
            StoreClosedError: the store is closed.
        """
        ...

    async def aclose(self) -> None:
        """Close what this store opened; closing again does nothing. A client that was passed in stays open.

        Calls that are under way end, with what they do or with a `StoreError`; none of them waits for ever.
        """
        ...

    async def __aenter__(self) -> Self:
        """Return the store."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        ...


class Backend(Protocol):
    """What an entry point of the group `wnc_store.backends` names: a callable; the entry's name is the URL scheme."""

    def __call__(self, url: str, settings: StoreSettings, clock: Clock) -> Store:
        """Return a store for `url`, without waiting for a server.

        Raises:
            ConfigurationError: the URL is wrong, or `publish_changes` is on and the backend tells no events. The
                message never holds a password.
        """
        ...
