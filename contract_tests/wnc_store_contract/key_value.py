"""A harness for stores on key-value databases, and raw access to their records."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from wnc_store import Clock, ManualClock, StoreSettings
from wnc_store.base import KeyValueDatabase, KeyValueEntry, KeyValueStore, KeyValueTransaction
from wnc_store_contract.harness import PATIENT, Capability, Harness

T = TypeVar("T")


class KeyValueHarness(Harness):
    """Stores on an empty key-value database, with a manual clock.

    A subclass implements `make_store` and `open_database`, and `disconnect` if it declares `Capability.DISCONNECT`.
    """

    capabilities = frozenset(
        {
            Capability.CHAT,
            Capability.LISTING,
            Capability.CONNECTIONS,
            Capability.RATE_LIMITS,
            Capability.EVENTS,
            Capability.SHARED,
            Capability.RAW,
        }
    )

    def __init__(self, *, key_prefix: str = "") -> None:
        self._key_prefix = key_prefix
        self._clock = ManualClock()

    @abstractmethod
    def make_store(self, settings: StoreSettings, clock: Clock) -> KeyValueStore:
        """Return a new client of the database."""

    @abstractmethod
    def open_database(self) -> KeyValueDatabase:
        """Return a connection to the database for raw access."""

    def open_store(self, **settings: Any) -> KeyValueStore:
        """Return a new client of the database."""
        key_prefix = f"{self._key_prefix}{settings.pop('key_prefix', '')}"
        settings.setdefault("operation_timeout", PATIENT)
        return self.make_store(StoreSettings(key_prefix=key_prefix, **settings), self._clock)

    async def advance(self, seconds: float) -> None:
        """Advance the clock that all stores share."""
        self._clock.advance(seconds)

    @property
    def raw(self) -> KeyValueRaw:
        """Raw access to the records."""
        return KeyValueRaw(self.open_database, self._key_prefix)

    @property
    def raw_hits(self) -> KeyValueRaw:
        """Raw access to the counts of rate limits."""
        return self.raw


class KeyValueRaw:
    """Raw access to the records, with a new connection for each call."""

    def __init__(self, open_database: Callable[[], KeyValueDatabase], key_prefix: str) -> None:
        self._open_database = open_database
        self._key_prefix = key_prefix

    async def get_room(self, room_id: str) -> bytes | None:
        """Return the bytes of a room, even if it has expired."""
        return await self._get("rooms", room_id)

    async def put_room(self, room_id: str, data: bytes) -> None:
        """Store a room that never expires."""
        await self._put("rooms", room_id, KeyValueEntry(data, None))

    async def get_chat(self, room_id: str) -> list[bytes]:
        """Return the texts of a chat, which is a JSON text sequence (RFC 7464)."""
        return [text[:-1] for text in (await self._get("chats", room_id) or b"").split(b"\x1e")[1:]]

    async def push_chat(self, room_id: str, entry: bytes) -> None:
        """Append a text to a chat, which expires as before. A new chat never expires."""

        def push(found: KeyValueTransaction) -> None:
            space = f"chats {self._key_prefix}"
            chat = found.get(space, room_id) or KeyValueEntry(b"", None)
            found.put(space, room_id, KeyValueEntry(b"%b\x1e%b\n" % (chat.value, entry), chat.expires_ms))

        await self._transact(push)

    async def list_room(self, room_id: str) -> None:
        """Store an expired room unless the room exists, because the rooms are also the index."""
        if await self.get_room(room_id) is None:
            await self._put("rooms", room_id, KeyValueEntry(b"", 0))

    async def put_hits(self, key: str, data: bytes) -> None:
        """Store a count that never expires."""
        await self._put("hits", key, KeyValueEntry(data, None))

    async def get_hits(self, key: str) -> bytes | None:
        """Return a count."""
        return await self._get("hits", key)

    async def _get(self, kind: str, key: str) -> bytes | None:
        entry = await self._transact(lambda found: found.get(f"{kind} {self._key_prefix}", key))
        return None if entry is None else entry.value

    async def _put(self, kind: str, key: str, entry: KeyValueEntry) -> None:
        await self._transact(lambda found: found.put(f"{kind} {self._key_prefix}", key, entry))

    async def _transact(self, function: Callable[[KeyValueTransaction], T]) -> T:
        database = self._open_database()
        try:
            return await database.transact(function, writes=True)
        finally:
            await database.aclose()
