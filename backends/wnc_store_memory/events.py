"""Events in memory."""

from __future__ import annotations

from wnc_store import BaseRoomEvents, EventReader, Lifecycle, StoreSettings, Telling
from wnc_store_memory.database import Namespace


class MemoryRoomEvents(BaseRoomEvents):
    """Events among the stores of one database. What is published is with all readers when the call returns."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._readers = namespace.readers

    async def _publish(self, telling: Telling) -> None:
        self._readers.deliver((telling.event,))

    async def _attach(self, reader: EventReader) -> None:
        self._readers.add(reader)

    def _detach(self, reader: EventReader) -> None:
        self._readers.discard(reader)
