"""Subscriptions to sharded channels: on a cluster, each at the master that has the slot of its key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from wnc_store import StoreClosedError, StoreError
from wnc_store_redis.transport.cluster import Address, ClusterRouter, is_moved
from wnc_store_redis.transport.pubsub import MessageHandler, OnLost, PubSubConnection
from wnc_store_redis.transport.routing import Backoff


class ClusterPubSub:
    """A connection to each master that has the slot of a channel which is listened to.

    A master says so itself when it gives a slot up, and refuses a channel whose slot it has not; its replicas take the
    channel, and may never hear a thing, but refuse to read a key. So what stands is at the right master, whatever is
    known here of the slots.

    Args:
        route: knows the masters.
        timeout: as of a `PubSubConnection`, and for how long the right master is looked for.
        ear: as of a `PubSubConnection`.
        on_lost: likewise.
        key_beside: gives a key in the slot of a channel.
    """

    def __init__(
        self,
        route: ClusterRouter,
        timeout: float,
        handler: MessageHandler,
        on_lost: OnLost,
        key_beside: Callable[[bytes], bytes],
    ) -> None:
        self._route = route
        self._timeout = timeout
        self._handler = handler
        self._on_lost = on_lost
        self._key_beside = key_beside
        self._connections: dict[Address, PubSubConnection] = {}
        self._subscribing: set[asyncio.Future[None]] = set()
        self._closed = False

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.subscribe`."""
        subscribing = [asyncio.ensure_future(self._subscribe(channel)) for channel in channels]
        self._subscribing.update(subscribing)
        try:
            await asyncio.gather(*subscribing)
        except BaseException as error:  # also the end of the caller's patience with a server that says nothing
            self._route.refresh_slots()
            if self._closed and isinstance(error, asyncio.CancelledError) and not _is_cancelled():
                raise StoreClosedError from None
            raise
        finally:
            self._subscribing.difference_update(subscribing)
            for one in subscribing:
                one.cancel()

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """See `PubSub.unsubscribe`."""
        for server in self._connections.values():
            for channel in server.channels.intersection(channels):
                server.unsubscribe((channel,))

    def ping(self) -> None:
        """See `PubSub.ping`."""
        for server in self._connections.values():
            server.ping()

    async def aclose(self) -> None:
        """See `PubSub.aclose`."""
        self._closed = True
        for subscribing in self._subscribing:
            subscribing.cancel()
        await asyncio.gather(*(server.aclose() for server in self._connections.values()))

    async def _subscribe(self, channel: bytes) -> None:
        deadline = asyncio.get_running_loop().time() + self._timeout
        pauses = Backoff(deadline)
        while True:
            address = await self._route.master_of(channel, deadline)
            try:
                await self._subscribe_at(channel, address, deadline)
            except StoreError:
                raise
            except Exception as error:
                if not (self._route.handle_error(error, channel, address) and await pauses.sleep()):
                    raise
            else:
                return

    async def _subscribe_at(self, channel: bytes, address: Address, deadline: float) -> None:
        """Subscribe at a server that is the master before, so that nothing is heard twice, and still is afterwards."""
        key, server = self._key_beside(channel), self._connection(address)
        await self._route.check_master(key, address, deadline)
        is_new = channel not in server.channels
        try:
            await server.subscribe((channel,))
            await self._route.check_master(key, address, deadline)
        except BaseException as error:
            # Others may have come to rely on it meanwhile: they are told, and subscribe again.
            if channel in server.channels and (is_new or is_moved(error)):
                server.unsubscribe((channel,))
                self._on_disconnect(address, (channel,))
            raise

    def _connection(self, address: Address) -> PubSubConnection:
        if self._closed:
            raise StoreClosedError
        server = self._connections.get(address)
        if server is None:
            pool, on_lost = self._route.connections(address), partial(self._on_disconnect, address)
            server = self._connections[address] = PubSubConnection(
                pool, self._timeout, self._handler, on_lost, is_sharded=True
            )
        return server

    def _on_disconnect(self, address: Address, channels: Sequence[bytes]) -> None:
        # Not at once: there may be more in the packet in which the master has said so.
        asyncio.get_running_loop().call_soon(self._close_if_idle, self._connections[address])
        self._on_lost(channels)

    def _close_if_idle(self, server: PubSubConnection) -> None:
        """Give up the connection to a master over which there is nothing to hear: maybe it is one no more."""
        if not server.channels:
            server.drop()


def _is_cancelled() -> bool:
    """Tell whether somebody has cancelled the running task itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
