"""Sharded pub/sub on a cluster.

`ClusterPubSub` of redis-py 8.1 would break two promises of `RoomEvents`: that a subscription is active on return, and
that each gap produces a `Resync`. Its `ssubscribe` returns before the server replies, and treats a channel as
subscribed even if the server denies it or is a replica. When a slot migrates, its channels are resubscribed only after
another command has refreshed the client's slot map, or after the next refresh if that fails, and nothing reports it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis.transport.cluster import Address, ClusterRouter, is_moved
from wnc_store_redis.transport.pubsub import MessageHandler, OnLost, PubSubConnection
from wnc_store_redis.transport.retry import Attempts
from wnc_store_redis.transport.tasks import BackgroundTasks


class ClusterPubSub:
    """Subscriptions over one connection to each master that owns the slot of a subscribed channel.

    A master ends a subscription when it gives the slot away, and denies a channel whose slot it does not own. A replica
    accepts the subscription, and may never receive a message, but denies a read of a key in the slot. Therefore a
    subscription is confirmed by a read before and after it, and does not depend on the cached slot map.

    Args:
        router: finds the masters.
        timeout: see `PubSubConnection`, as for `handler` and `on_lost`; also the time for finding the right master.
        key_for_channel: returns a key in the slot of a channel.
        notifications_for_channel: returns the channel of keyspace notifications to subscribe together with a channel,
            at the same master; None for no notifications.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the last two name a key and a channel that belong to another channel
        self,
        router: ClusterRouter,
        timeout: float,
        handler: MessageHandler,
        on_lost: OnLost,
        key_for_channel: Callable[[bytes], bytes],
        notifications_for_channel: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._router = router
        self._timeout = timeout
        self._handler = handler
        self._on_lost = on_lost
        self._key_for_channel = key_for_channel
        self._notifications_for_channel = notifications_for_channel
        self._connections: dict[Address, PubSubConnection] = {}
        self._tasks = BackgroundTasks()
        self._closed = False

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSubConnection.subscribe`."""
        subscribing = [self._tasks.spawn(self._subscribe(channel)) for channel in channels]
        try:
            await asyncio.gather(*subscribing)
        except BaseException as error:  # including the timeout of a caller if the server is silent
            self._router.refresh_slots()
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling() > 0  # and not only the tasks above
            if self._closed and isinstance(error, asyncio.CancelledError) and not is_cancelled:
                raise StoreClosedError from None
            raise
        finally:
            for subscription in subscribing:
                subscription.cancel()

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSubConnection.unsubscribe`."""
        for server in self._connections.values():
            for channel in server.channels.intersection(channels):
                server.unsubscribe((channel,))
                self._drop_notifications(server, channel)

    async def aclose(self) -> None:
        """See `PubSubConnection.aclose`."""
        self._closed = True
        await self._tasks.aclose()
        await asyncio.gather(*(server.aclose() for server in self._connections.values()))

    async def _subscribe(self, channel: bytes) -> None:
        deadline = asyncio.get_running_loop().time() + self._timeout
        attempts = Attempts(deadline, has_failover=True)
        while True:
            address: Address | None = None
            try:
                address = await self._router.master_of(channel, deadline)
                await self._subscribe_at(channel, address, deadline)
            except StoreError:
                raise
            except Exception as error:
                if not await attempts.another(self._router.handle_error(error, channel, address)):
                    raise
            else:
                return

    async def _subscribe_at(self, channel: bytes, address: Address, deadline: float) -> None:
        """Subscribe at the master. Check that it is the master before, so that no message arrives twice, and after."""
        key, server = self._key_for_channel(channel), self._connection(address)
        await self._router.check_master(key, address, deadline)
        is_new = channel not in server.channels
        try:
            await server.subscribe((channel,))
            if self._notifications_for_channel is not None:
                await server.subscribe((self._notifications_for_channel(channel),))
            await self._router.check_master(key, address, deadline)
        except BaseException as error:
            # Other subscribers may use this subscription already. They are notified and subscribe again.
            if channel in server.channels and (is_new or is_moved(error)):
                server.unsubscribe((channel,))
                self._on_disconnect(address, (channel,))
            raise
        finally:
            if channel not in server.channels:  # it was lost before its notifications were subscribed
                self._drop_notifications(server, channel)

    def _connection(self, address: Address) -> PubSubConnection:
        if self._closed:
            raise StoreClosedError
        server = self._connections.get(address)
        if server is None:
            pool, on_lost = self._router.connections(address), partial(self._on_disconnect, address)
            server = self._connections[address] = PubSubConnection(
                pool, self._timeout, self._handler, on_lost, is_sharded=True
            )
        return server

    def _on_disconnect(self, address: Address, channels: Sequence[bytes]) -> None:
        server = self._connections[address]
        for channel in channels:
            self._drop_notifications(server, channel)
        # Not now, because the packet that ended the subscription may contain more messages.
        asyncio.get_running_loop().call_soon(self._close_if_idle, server)
        self._on_lost(channels)

    def _drop_notifications(self, server: PubSubConnection, channel: bytes) -> None:
        """Unsubscribe from the notifications of a channel: a slot that migrates ends only the sharded subscription."""
        if self._notifications_for_channel is not None:
            notifications = self._notifications_for_channel(channel)
            if notifications in server.channels:
                server.unsubscribe((notifications,))

    def _close_if_idle(self, server: PubSubConnection) -> None:
        """Close a connection without subscriptions: the server may not be a master any more."""
        if not server.channels:
            server.drop()
