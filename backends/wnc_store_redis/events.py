"""Room events over Redis pub/sub: one channel for each room."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from wnc_store import Resync, StoreError, StoreSettings, to_wire
from wnc_store.base import BaseRoomEvents, EncodedEvent, EventQueue, Lifecycle, SubscriberRegistry
from wnc_store_redis.external_changes import ExternalChangeDetector
from wnc_store_redis.keys import Keys, text
from wnc_store_redis.scripts import PUBLISH
from wnc_store_redis.subscriptions import SubscriptionManager
from wnc_store_redis.transport.cluster import ClusterRouter
from wnc_store_redis.transport.cluster_pubsub import ClusterPubSub
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.pubsub import OnLost, PubSubConnection
from wnc_store_redis.transport.routing import SingleNodeRouter
from wnc_store_redis.transport.tasks import BackgroundTasks

_logger = logging.getLogger("wnc_store")


class RedisRoomEvents(BaseRoomEvents):
    """`RoomEvents` on Redis. Subscriptions use separate connections."""

    def __init__(
        self,
        router: SingleNodeRouter | ClusterRouter,
        commands: CommandExecutor,
        keys: Keys,
        settings: StoreSettings,
        lifecycle: Lifecycle,
    ) -> None:
        super().__init__(settings, lifecycle)
        self._commands = commands
        self._keys = keys
        self._is_cluster = isinstance(router, ClusterRouter)
        self._subscribers = SubscriberRegistry()
        self._timeout = settings.operation_timeout.total_seconds()
        self._subscriptions = SubscriptionManager(
            commands, self._timeout, partial(self._make_pubsub, router), self._mark_gap
        )
        self._external_changes = ExternalChangeDetector(
            lambda event: self._subscribers.dispatch((event,)), is_cluster=self._is_cluster
        )
        self._tasks = BackgroundTasks()
        if isinstance(router, ClusterRouter) and settings.publish_changes:
            router.on_ask_redirect(self._on_ask_redirect)

    async def _publish(self, encoded_event: EncodedEvent) -> None:
        await self._publish_data(self._keys.events(encoded_event.event.room_id), encoded_event.data)

    async def _subscribe(self, queue: EventQueue, /) -> None:
        # Added only when the server has confirmed the subscription, because messages that were published before may
        # still arrive for earlier subscribers of the same channel.
        await self._subscriptions.acquire(self._channels_of(queue.room_id))
        self._subscribers.add(queue)

    def _unsubscribe(self, queue: EventQueue, /) -> None:
        self._subscribers.discard(queue)
        self._subscriptions.release(self._channels_of(queue.room_id))

    def on_message(self, source: PubSubConnection, channel: bytes, data: bytes) -> None:
        """See `MessageHandler.on_message`."""
        room_id, is_notification = self._keys.room_of_channel(channel)
        # Messages that arrive before the Resync of a gap are dropped, because the Resync covers them.
        is_in_gap = self._subscriptions.is_interrupted(self._keys.events(room_id))
        if is_notification:
            if not is_in_gap:
                self._external_changes.on_notification(source, room_id, data)
            return
        event = self._decode(text(channel), room_id, data)
        if event is None:
            self._external_changes.flush(source)
        else:
            self._external_changes.on_event(source, event)
            if not is_in_gap:
                self._subscribers.dispatch((event,))

    def on_pong(self, source: PubSubConnection) -> None:
        """See `MessageHandler.on_pong`."""
        self._external_changes.flush(source)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._subscriptions.aclose()
        await self._tasks.drain()

    def _make_pubsub(
        self, router: SingleNodeRouter | ClusterRouter, on_lost: OnLost
    ) -> PubSubConnection | ClusterPubSub:
        if isinstance(router, ClusterRouter):
            keys, notifies = self._keys, self._settings.notify_external_changes
            notifications = keys.notifications_for_channel if notifies else None
            return ClusterPubSub(router, self._timeout, self, on_lost, keys.key_for_channel, notifications)
        pubsub = PubSubConnection(router.pool, self._timeout, self, on_lost)
        router.on_failover(pubsub.drop)
        return pubsub

    def _mark_gap(self, channels: Sequence[bytes]) -> None:
        self._subscribers.mark_gap({self._keys.room_of_channel(channel)[0] for channel in channels})

    def _on_ask_redirect(self, key: bytes) -> None:
        """Publish a `Resync`: a script ran on the server that its slot migrates to, so its events reached nobody."""
        channel = self._keys.channel_for_key(key)
        if channel is not None:
            self._tasks.spawn(self._publish_gap(channel))

    async def _publish_gap(self, channel: bytes) -> None:
        room_id, _ = self._keys.room_of_channel(channel)
        try:
            await self._publish_data(channel, to_wire(Resync(room_id=room_id)))
        except StoreError as error:
            _logger.warning(
                "could not publish a Resync: subscribers may miss events until the slot has migrated: %s", error
            )

    async def _publish_data(self, channel: bytes, data: bytes) -> None:
        key = self._keys.key_for_channel(channel)
        await self._commands.run_script(PUBLISH, [key], self._keys.publish, channel, data)

    def _channels_of(self, room_id: str) -> Sequence[bytes]:
        events = self._keys.events(room_id)
        if self._is_cluster or not self._settings.notify_external_changes:
            return (events,)  # on a cluster, `ClusterPubSub` also subscribes to the notifications
        return (events, self._keys.notifications(room_id))
