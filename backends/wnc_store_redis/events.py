"""Events on Redis: one channel for each room; on a cluster one for the room and one for its chat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from wnc_store import (
    BaseRoomEvents,
    EventReader,
    Lifecycle,
    Readers,
    Resync,
    StoreError,
    StoreSettings,
    Telling,
    to_wire,
)
from wnc_store_redis.external_changes import ForeignChanges
from wnc_store_redis.keys import Keys, text
from wnc_store_redis.subscriptions import Channels
from wnc_store_redis.transport.cluster import ClusterRoute
from wnc_store_redis.transport.cluster_pubsub import ShardedSubscriber
from wnc_store_redis.transport.executor import Commands
from wnc_store_redis.transport.pubsub import OnLost, Subscriber, Subscriptions
from wnc_store_redis.transport.routing import RouteToOne

_logger = logging.getLogger("wnc_store")


class RedisRoomEvents(BaseRoomEvents):
    """`RoomEvents` on Redis: pub/sub, received over connections of its own."""

    def __init__(
        self,
        route: RouteToOne | ClusterRoute,
        commands: Commands,
        keys: Keys,
        settings: StoreSettings,
        lifecycle: Lifecycle,
    ) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._readers = Readers()
        self._timeout = settings.operation_timeout.total_seconds()
        self._channels = Channels(commands, self._timeout, partial(self._subscribed, route), self._missed)
        self._foreign = ForeignChanges(lambda event: self._readers.deliver((event,)), self._channels.ask)
        self._tasks: set[asyncio.Task[None]] = set()
        if isinstance(route, ClusterRoute) and settings.publish_changes:
            route.on_detour(self._detoured)

    async def _publish(self, telling: Telling) -> None:
        await self._tell(self._keys.events(telling.event.room_id), telling.data)

    async def _attach(self, reader: EventReader) -> None:
        # Not added before it stands: what was published for a reader before this one may still be on its way.
        await self._channels.enter(self._channels_of(reader.room_id))
        self._readers.add(reader)

    def _detach(self, reader: EventReader) -> None:
        self._readers.discard(reader)
        self._channels.leave(self._channels_of(reader.room_id))

    def heard(self, channel: bytes, data: bytes) -> None:
        """See `Ear.heard`."""
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
        """See `Ear.ponged`."""
        self._foreign.passed()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._channels.aclose()
        if self._tasks and not self._commands.forked:
            await asyncio.wait(self._tasks)

    def _subscribed(self, route: RouteToOne | ClusterRoute, on_lost: OnLost) -> Subscriptions:
        if isinstance(route, ClusterRoute):
            return ShardedSubscriber(route, self._timeout, self, on_lost, self._keys.key_beside)
        subscriber = Subscriber(route.pool, self._timeout, self, on_lost)
        route.on_switch(subscriber.drop)
        return subscriber

    def _missed(self, channels: Sequence[bytes]) -> None:
        self._readers.lose({self._keys.room_of_channel(channel)[0] for channel in channels})

    def _detoured(self, key: bytes) -> None:
        """Tell readers that they may have missed what a script published where its key's slot is going."""
        channel = self._keys.channel_beside(key)
        if channel is not None:
            task = asyncio.get_running_loop().create_task(self._tell_of_a_gap(channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell_of_a_gap(self, channel: bytes) -> None:
        room_id, _ = self._keys.room_of_channel(channel)
        try:
            await self._tell(channel, to_wire(Resync(room_id=room_id)))
        except StoreError as error:
            _logger.warning("readers are not told that they miss events until the slot has moved: %s", error)

    async def _tell(self, channel: bytes, data: bytes) -> None:
        if self._commands.is_sharded:
            await self._commands.publish(self._keys.key_beside(channel), channel, data)
        else:
            await self._commands.write(self._keys.publish, channel, data)

    def _channels_of(self, room_id: str) -> Sequence[bytes]:
        events, chat_events = self._keys.events(room_id), self._keys.chat_events(room_id)
        if chat_events != events:  # keyspace notifications are each server's own, and not listened to on a cluster
            return (events, chat_events)
        return (events, self._keys.notifications(room_id)) if self._settings.notify_foreign_changes else (events,)
