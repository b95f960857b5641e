"""The contract: the guarantees of every backend. The contract suite (`wnc_store_contract`) checks them.

Unless a method states otherwise:

- **Ids** have 1-128 characters. Any other id raises `InvalidIdError` before anything is sent. Room ids consist of
  `A-Z a-z 0-9 _ - . :`. Connection ids, and the keys of connections and rate limits, may also contain
  `% / @ | + = ~`, as in `fe80::1%eth0`. User ids and message ids may contain any character except control characters
  and lone surrogates, and no whitespace at either end. Ids are compared character by character, without normalization.
- **Host**: the user whose id is `host_id` is the host. Methods that write `host_id`, or that write this user, also set
  `is_host` of this user. Other users may have `is_host`, too.
- **Depth**: arrays and objects in extra fields and in values of app events are nested at most 64 levels deep. A deeper
  value raises `ValueError`. Deeper values that another client stored can be read, and later writes preserve them.
- **Atomicity**: a method has its full effect or none, also with concurrent callers and other clients.
- **Consistency**: once a write has returned, every later call from any client of the same data sees it.
- **Fidelity**: values are read back exactly as they were written: every character of a text and every digit of an
  integer. Every operation preserves fields that the models do not declare.
- **Cancellation**: a cancelled call raises `CancelledError`. Its write takes effect completely or not at all.
- **Expiry**: every write renews the full TTL of the records it wrote. Reads never extend a TTL. A record whose TTL has
  ended does not exist.
- **Errors**: an error from a write means that nothing was written, except `OutcomeUnknownError`. Every method may raise
  `StoreUnavailableError` and its subclasses, `ConfigurationError` if the server rejects the credentials or lacks a
  required configuration, `StoreClosedError` after `aclose()`, `CorruptRecordError` if a stored record is invalid, and
  other subclasses of `StoreError` that are specific to the server. A method that the backend does not support raises
  `NotSupportedError`.
- **Limits**: a write of a value above a limit of the settings raises `LimitExceededError`. Stored values above a limit
  can still be read, and later writes may preserve them.

TTLs, leases and windows are measured in whole milliseconds, by the server's clock if the backend has a server. The
memory backend measures them by `Clock.monotonic_ms`.
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
    """The methods of `RoomStore` that only read."""

    async def get_room(self, room_id: str) -> Room | None:
        """Return the live room with this id, or None.

        Raises:
            CorruptRecordError: The stored value is not a valid room with this id.
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

    async def update_room(self, room_id: str, room: Room) -> None:
        """Replace a room, whatever its current content. `rev` continues from the stored room.

        Raises:
            RoomNotFoundError: The room does not exist. No room is created. (The Node app creates one.)
            ValueError: `room.id` differs from `room_id`, or the room contains a value that can't be stored.
        """
        ...

    async def edit_room(self, room_id: str, change: Callable[[Room], Room]) -> Room:
        """Replace a room by the result of a function of its current content, atomically.

        Args:
            room_id: Id of the room.
            change: A pure function. It is called again with the newer room after each concurrent change. An exception
                that it raises propagates to the caller, and nothing is written.

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            ConflictError: Concurrent changes made every attempt fail within `operation_timeout`.
            TypeError: `change` did not return a `Room`.
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

        - If no user remains, the room is deleted as by `delete_room`.
        - If the host leaves, the first remaining user becomes host: `host_id`, `host_name` and the user's `is_host`
          change, `host_token` does not.

        Returns:
            The room after the removal. None if the room was deleted or did not exist.
        """
        ...

    async def transfer_host(self, room_id: str, user_id: str) -> Room:
        """Make a user of the room its host and clear `is_host` of the previous host. Other users keep their `is_host`.

        Returns:
            The room as written.

        Raises:
            RoomNotFoundError: The room does not exist.
            UserNotFoundError: The user is not in the room.
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


class ChatReader(Protocol):
    """The methods of `ChatStore` that only read."""

    async def get_messages(self, room_id: str, limit: int | None = None) -> list[ChatMessage]:
        """Return the stored messages of a room, oldest first.

        An invalid entry is skipped and logged once.

        Args:
            room_id: Id of the room. The room does not have to exist.
            limit: Return only this number of newest messages. None returns all.

        Raises:
            ValueError: `limit` is negative.
        """
        ...

    async def chat_ttl(self, room_id: str) -> timedelta | None:
        """Return the remaining TTL of a chat, with the same special values as `RoomReader.room_ttl`."""
        ...


class ChatStore(ChatReader, Protocol):
    """The last messages of each room.

    As in the Node app, a chat exists independently of its room, and deleting the room deletes the chat.
    """

    async def add_message(self, message: ChatMessage) -> None:
        """Append a message to the chat of its room and keep the last `chat_history_limit` messages.

        The method is idempotent: if a stored message has the same id, nothing changes.

        Raises:
            ValueError: The message contains a value that can't be stored.
        """
        ...

    async def clear_messages(self, room_id: str) -> None:
        """Delete the messages of a room."""
        ...


class ConnectionCounter(Protocol):
    """The number of open connections per client, for example per IP address, across all processes.

    A connection is a lease, which ends `connection_ttl` after it was last acquired. The leases of a crashed process
    therefore end, too.
    """

    async def acquire(self, key: str, connection_id: str, *, limit: int | None = None) -> int:
        """Start or renew a lease. Renewing an existing lease never fails because of `limit`.

        Args:
            key: Id of the client whose connections are counted.
            connection_id: Id of the connection, unique for this key.
            limit: Largest number of leases of this key. It is checked atomically with the count. None means no limit.

        Returns:
            Number of active leases of the key, including this one.

        Raises:
            LimitExceededError: The lease is new and the key already has `limit` leases. Nothing changed.
            ValueError: `limit` is not an integer (booleans are rejected) or is below 1.
        """
        ...

    async def release(self, key: str, connection_id: str) -> int:
        """End a lease. Nothing changes if the lease does not exist.

        Returns:
            Number of remaining leases of the key.
        """
        ...

    async def count(self, key: str) -> int:
        """Return the number of active leases of a key, without renewing them."""
        ...


class RateLimiter(Protocol):
    """Fixed-window rate limits. The first hit of a key starts a window of `rate_limit_window`.

    Rejected hits count, too. When the window ends, its count is deleted. If another client stored a count without a
    TTL, the next hit adds to this count and starts a full window for it.
    """

    async def hit(self, key: str, cost: int = 1) -> RateLimitDecision:
        """Add a hit to the count of a key and return whether the count is within `rate_limit_max`, atomically.

        Args:
            key: Id of the client whose hits are counted.
            cost: Number of hits to add.

        Raises:
            ValueError: `cost` is not an integer (booleans are rejected), is below 1 or is above 10^9. Nothing was
                counted.
            CorruptRecordError: The stored value is not a count.
        """
        ...

    async def peek(self, key: str) -> RateLimitDecision:
        """Return whether one more hit would be allowed, without counting it."""
        ...

    async def reset(self, key: str) -> None:
        """Delete the count of a key."""
        ...


class Store(Protocol):
    """The object that an app injects: rooms, chats, limiters and events of one backend.

    A store is an async context manager. Leaving the `async with` block closes the store.
    """

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
        """The connection counter."""
        ...

    @property
    def rate_limits(self) -> RateLimiter:
        """The rate limiter."""
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
        """Check that the store can execute operations.

        Raises:
            StoreUnavailableError: The server can't be reached or can't execute operations.
        """
        ...

    async def health(self) -> HealthReport:
        """Check the server, its configuration and the in-memory fallback of the limiters.

        Problems are reported in the result, not raised.

        Raises:
            StoreClosedError: The store is closed.
        """
        ...

    async def aclose(self) -> None:
        """Close everything that this store opened. A client that was passed in stays open.

        Each call in progress completes or raises a `StoreError`. No call waits indefinitely. Closing a closed store
        does nothing. In another event loop than its own, the store closes, or raises `StoreError` and stays open.
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
    """A callable that opens a store for a URL.

    A package registers its backend as an entry point of the group `wnc_store.backends`. The name of the entry point is
    the URL scheme.
    """

    def __call__(self, url: str, settings: StoreSettings, clock: Clock) -> Store:
        """Return a store for `url`, without connecting to a server.

        Raises:
            ConfigurationError: The URL is invalid, or `publish_changes` is on and the backend does not support events.
                The message never contains a password.
        """
        ...
