"""Store on a key-value database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from wnc_store.base.events import EncodedEvent
from wnc_store.base.key_value.chat import KeyValueChatStore
from wnc_store.base.key_value.database import KeyValueDatabase
from wnc_store.base.key_value.limiters import KeyValueConnectionCounter, KeyValueRateLimiter
from wnc_store.base.key_value.records import RecordStorage
from wnc_store.base.key_value.rooms import KeyValueRoomStore
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.polling_events import EventLogPage, PollingRoomEvents
from wnc_store.base.store import BaseStore
from wnc_store.clock import Clock, SystemClock
from wnc_store.protocols import Store
from wnc_store.settings import StoreSettings


class KeyValueStore(BaseStore):
    """A whole store on a key-value database with transactions. A backend only implements `KeyValueDatabase`.

    Rooms, chats, leases and counts are entries of the database, with their expiry. Expired entries remain until they
    are replaced, or until `sweep_active_rooms`. Events are entries for a minute, which subscribers poll.

    Args:
        database: The database. The store closes it.
        settings: Settings of the store. By default `StoreSettings()`.
        clock: Clock for timestamps and expiry; its wall clock must agree with those of other clients of the database.
        poll_interval: Longest time between two reads of the events of other clients, while there are subscribers.
            Events of this store arrive at once.
        open_fallback: See `BaseStore`.

    Raises:
        TypeError: `poll_interval` is not a `timedelta`.
        ValueError: `poll_interval` is shorter than 1 ms or longer than 36500 days.
    """

    def __init__(
        self,
        database: KeyValueDatabase,
        settings: StoreSettings | None = None,
        *,
        clock: Clock | None = None,
        poll_interval: timedelta = timedelta(milliseconds=100),
        open_fallback: Callable[[], Store] | None = None,
    ) -> None:
        settings, clock, lifecycle = settings or StoreSettings(), clock or SystemClock(), Lifecycle()
        self._database = database
        self._storage = storage = RecordStorage(database, settings.key_prefix, clock, self._wake)
        self.rooms = KeyValueRoomStore(storage, settings, clock, lifecycle)
        self._polled_events = _KeyValueRoomEvents(storage, settings, lifecycle, poll_interval)
        super().__init__(
            settings,
            lifecycle,
            chat=KeyValueChatStore(storage, settings, lifecycle),
            connections=KeyValueConnectionCounter(storage, settings, lifecycle),
            rate_limits=KeyValueRateLimiter(storage, settings, lifecycle),
            events=self._polled_events,
            open_fallback=open_fallback,
        )

    def statistics(self) -> Mapping[str, int]:
        """See `SupportsStatistics.statistics`."""
        return {"commits": self.rooms.commits, "retries": self.rooms.retries}

    async def _ping(self) -> None:
        await self._storage.read(lambda records: records.read_log(None))

    def _check_close(self) -> None:
        self._database.check_close()

    async def _close(self) -> None:
        await self._polled_events.aclose()
        await self._database.aclose()

    def _wake(self) -> None:
        self._polled_events.wake()


class _KeyValueRoomEvents(PollingRoomEvents):
    """Events in a key-value database."""

    def __init__(
        self, storage: RecordStorage, settings: StoreSettings, lifecycle: Lifecycle, poll_interval: timedelta
    ) -> None:
        super().__init__(settings, lifecycle, poll_interval)
        self._storage = storage

    async def _publish(self, encoded_event: EncodedEvent) -> None:
        await self._storage.write(lambda records: records.publish((encoded_event,)))

    async def _read_log(self, after: int | None, /) -> EventLogPage:
        return await self._storage.read(lambda records: records.read_log(after))
