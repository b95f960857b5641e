"""Events on Redis: one channel for each room."""

from __future__ import annotations

from collections.abc import Sequence

from wnc_store import BaseRoomEvents, EventReader, Lifecycle, Readers, StoreSettings, Telling
from wnc_store_redis._channels import Channels
from wnc_store_redis._commands import Commands
from wnc_store_redis._foreign import ForeignChanges
from wnc_store_redis._keys import Keys, text
from wnc_store_redis._route import Route


class RedisRoomEvents(BaseRoomEvents):
    """`RoomEvents` on Redis: pub/sub, received over one more connection."""

    def __init__(
        self, route: Route, commands: Commands, keys: Keys, settings: StoreSettings, lifecycle: Lifecycle
    ) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._readers = Readers()
        self._channels = Channels(route.pool, commands, settings.operation_timeout.total_seconds(), self)
        route.on_switch(self._channels.drop)
        self._foreign = ForeignChanges(lambda event: self._readers.deliver((event,)), self._channels.ask)

    async def _publish(self, telling: Telling) -> None:
        await self._commands.write(b"PUBLISH", self._keys.events(telling.event.room_id), telling.data)

    async def _attach(self, reader: EventReader) -> None:
        self._readers.add(reader)  # so that it gets what comes together with the server's confirmation
        await self._channels.enter(self._channels_of(reader.room_id))

    def _detach(self, reader: EventReader) -> None:
        self._readers.discard(reader)
        self._channels.leave(self._channels_of(reader.room_id))

    def heard(self, channel: bytes, data: bytes) -> None:
        """See `Listener.heard`."""
        room_id, is_notified = self._keys.room_of_channel(channel)
        if is_notified:
            self._foreign.notified(room_id, data)
            return
        event = self._decode(text(channel), room_id, data)
        if event is None:
            self._foreign.passed()
        else:
            self._foreign.published(event)
            self._readers.deliver((event,))

    def ponged(self) -> None:
        """See `Listener.ponged`."""
        self._foreign.passed()

    def missed(self) -> None:
        """See `Listener.missed`."""
        self._readers.lose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channels.aclose()

    def _channels_of(self, room_id: str) -> Sequence[bytes]:
        events = self._keys.events(room_id)
        return (events, self._keys.notifications(room_id)) if self._settings.notify_foreign_changes else (events,)
