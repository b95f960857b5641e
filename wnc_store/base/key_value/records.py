"""Records of one key prefix in a key-value database: expiry, and the log of events."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

from wnc_store.base.events import EncodedEvent
from wnc_store.base.key_value.database import KeyValueDatabase, KeyValueEntry, KeyValueTransaction
from wnc_store.base.polling_events import EventLogPage, LoggedEvent
from wnc_store.clock import Clock
from wnc_store.errors import CorruptRecordError
from wnc_store.records.secret import SecretBytes

T = TypeVar("T")

MILLISECOND = timedelta(milliseconds=1)

ROOMS, CHATS, CONNECTIONS, HITS, EVENTS = "rooms", "chats", "connections", "hits", "events"
_SEQUENCE = "sequence"

_EVENT_TTL = timedelta(minutes=1)
"""Time after which an event may be deleted. A subscriber that reads the log later receives a `Resync`."""

_PAGE_SIZE = 500

_PURGE_SIZE = 100
"""Number of records that a transaction of the sweep reads. Other writes of the database wait for it."""

_is_number = re.compile(rb"[0-9]{1,18}").fullmatch
_event_key = re.compile(r"([0-9]{20}) (\S+)").fullmatch


class Records:
    """The live records of one key prefix in a transaction. Each record has a kind and a key.

    Attributes:
        now_ms: Time of the transaction in milliseconds since the epoch.
        has_published: Whether the transaction has appended events to the log.
    """

    def __init__(self, transaction: KeyValueTransaction, key_prefix: str, now_ms: int) -> None:
        self._transaction = transaction
        self._key_prefix = key_prefix
        self.now_ms = now_ms
        self.has_published = False

    def get_entry(self, kind: str, key: str) -> KeyValueEntry | None:
        """Return a live record with its expiry, or None."""
        entry = self._transaction.get(self._space(kind), key)
        return entry if entry is not None and self._is_live(entry) else None

    def get(self, kind: str, key: str) -> bytes | None:
        """Return the value of a live record, which tracebacks do not show, or None."""
        entry = self.get_entry(kind, key)
        return None if entry is None else SecretBytes(entry.value)

    def get_ttl(self, kind: str, key: str) -> timedelta | None:
        """Return the remaining TTL of a record: `timedelta.max` if it never expires, None if it does not exist."""
        entry = self.get_entry(kind, key)
        if entry is None:
            return None
        return timedelta.max if entry.expires_ms is None else (entry.expires_ms - self.now_ms) * MILLISECOND

    def put(self, kind: str, key: str, value: bytes, ttl: timedelta) -> None:
        """Store a record with a TTL."""
        self._transaction.put(self._space(kind), key, KeyValueEntry(value, self.now_ms + ttl // MILLISECOND))

    def delete(self, kind: str, key: str) -> bool:
        """Delete a record. Return whether it was live."""
        was_live = self.get_entry(kind, key) is not None
        self._transaction.delete(self._space(kind), key)
        return was_live

    def keys(self, kind: str, prefix: str = "") -> Iterator[str]:
        """Iterate over the keys of the live records whose keys start with a prefix."""
        return (key for key, entry in self._scan(kind, prefix) if self._is_live(entry))

    def page(self, kind: str, after: str) -> tuple[Sequence[str], str | None]:
        """Return the keys of the live records of one page, and the key before the next page, if any."""
        found = self._transaction.scan(self._space(kind), after, _PAGE_SIZE)
        return [key for key, entry in found if self._is_live(entry)], _next_page(found, _PAGE_SIZE)

    def purge(self, kind: str, prefix: str) -> None:
        """Delete the expired records whose keys start with a prefix."""
        self._delete_expired(kind, [*self._scan(kind, prefix)])

    def purge_page(self, kind: str, after: str) -> tuple[int, str | None]:
        """Delete the expired records of one page. Return their number, and the key before the next page, if any."""
        found = self._transaction.scan(self._space(kind), after, _PURGE_SIZE)
        return self._delete_expired(kind, found), _next_page(found, _PURGE_SIZE)

    def publish(self, encoded_events: Sequence[EncodedEvent]) -> None:
        """Append events to the log, and delete about as many that have expired."""
        if not encoded_events:
            return
        space, number = self._space(EVENTS), self._newest_event()
        for key, entry in self._transaction.scan(space, "", len(encoded_events) + 1):
            if not self._is_live(entry):
                self._transaction.delete(space, key)
        for event, data in encoded_events:
            number += 1
            self.put(EVENTS, f"{number:020d} {event.room_id}", data, _EVENT_TTL)
        self._transaction.put(self._space(_SEQUENCE), "", KeyValueEntry(b"%d" % number, None))
        self.has_published = True

    def read_log(self, after: int | None) -> EventLogPage:
        """See `PollingRoomEvents._read_log`."""
        newest = self._newest_event()
        if after is None or newest <= after:
            return EventLogPage(newest)
        events: list[LoggedEvent] = []
        for key, entry in self._transaction.scan(self._space(EVENTS), f"{after + 1:020d}", _PAGE_SIZE):
            if match := _event_key(key):  # another key leaves a gap in the numbers
                events.append(LoggedEvent(int(match[1]), match[2], entry.value))
        return EventLogPage(newest, events)

    def _newest_event(self) -> int:
        entry = self._transaction.get(self._space(_SEQUENCE), "")
        if entry is None:
            return 0
        if not _is_number(entry.value):
            raise CorruptRecordError(f"{_SEQUENCE}/{self._key_prefix}", "the value is not a decimal integer")
        return int(entry.value)

    def _scan(self, kind: str, prefix: str) -> Iterator[tuple[str, KeyValueEntry]]:
        after: str | None = prefix
        while after is not None:
            found = self._transaction.scan(self._space(kind), after, _PAGE_SIZE)
            for key, entry in found:
                if not key.startswith(prefix):
                    return
                yield key, entry
            after = _next_page(found, _PAGE_SIZE)

    def _delete_expired(self, kind: str, found: Sequence[tuple[str, KeyValueEntry]]) -> int:
        expired = [key for key, entry in found if not self._is_live(entry)]
        for key in expired:
            self._transaction.delete(self._space(kind), key)
        return len(expired)

    def _is_live(self, entry: KeyValueEntry) -> bool:
        return entry.expires_ms is None or entry.expires_ms > self.now_ms

    def _space(self, kind: str) -> str:
        """Return the space of a kind. A space after the kind separates it, so that no prefix contains another."""
        return f"{kind} {self._key_prefix}"


def _next_page(found: Sequence[tuple[str, KeyValueEntry]], size: int) -> str | None:
    """Return the key before the next page. None if this page is the last one, because it is not full."""
    return found[-1][0] if len(found) == size else None


class RecordStorage:
    """The records of one key prefix in a database.

    Args:
        database: The database.
        key_prefix: Separates the records from those of other stores on the database.
        clock: Its wall clock decides which records have expired.
        on_publish: Called after a transaction that has appended events.
    """

    def __init__(
        self, database: KeyValueDatabase, key_prefix: str, clock: Clock, on_publish: Callable[[], None]
    ) -> None:
        self._database = database
        self._key_prefix = key_prefix
        self._clock = clock
        self._on_publish = on_publish

    async def read(self, function: Callable[[Records], T]) -> T:
        """Return the result of a function that reads records in a transaction."""
        return await self._database.transact(lambda found: function(self._records(found)), writes=False)

    async def write(self, function: Callable[[Records], T]) -> T:
        """Return the result of a function that changes records in a transaction."""
        has_published = False

        def change(found: KeyValueTransaction) -> T:
            nonlocal has_published
            records = self._records(found)
            result = function(records)
            has_published = records.has_published
            return result

        result = await self._database.transact(change, writes=True)
        if has_published:
            self._on_publish()
        return result

    def _records(self, transaction: KeyValueTransaction) -> Records:
        return Records(transaction, self._key_prefix, self._clock.now_ms())  # the wait for the transaction took time
