"""Room events in memory."""

from __future__ import annotations

from wnc_store import StoreSettings
from wnc_store.base import BaseRoomEvents, EncodedEvent, EventQueue, Lifecycle
from wnc_store_memory.database import Namespace


class MemoryRoomEvents(BaseRoomEvents):
    """Events between the stores of one database. `publish` appends to every subscriber's queue before it returns."""

    def __init__(self, namespace: Namespace, settings: StoreSettings, lifecycle: Lifecycle) -> None:
        super().__init__(settings, lifecycle)
        self._subscribers = namespace.subscribers

    async def _publish(self, encoded_event: EncodedEvent) -> None:
        self._subscribers.dispatch((encoded_event.event,))

    async def _subscribe(self, queue: EventQueue) -> None:
        self._subscribers.add(queue)

    def _unsubscribe(self, queue: EventQueue) -> None:
        self._subscribers.discard(queue)
