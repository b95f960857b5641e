"""Room events over LISTEN and NOTIFY: one channel for each key prefix."""

from __future__ import annotations

from wnc_store import ConfigurationError, StoreSettings
from wnc_store.base import BaseRoomEvents, EncodedEvent, EventQueue, Lifecycle, SubscriberRegistry
from wnc_store_postgres.keys import Keys
from wnc_store_postgres.payloads import PayloadDecoder, encode_payloads
from wnc_store_postgres.transport.connection import Connection, open_connection
from wnc_store_postgres.transport.errors import NoConnectionError, to_store_error
from wnc_store_postgres.transport.executor import StatementExecutor, session_options
from wnc_store_postgres.transport.listener import Listener
from wnc_store_postgres.transport.url import Target


class PostgresRoomEvents(BaseRoomEvents):
    """`RoomEvents` on Postgres. All subscriptions of a store share one connection.

    Args:
        executor: publishes.
        target: what to listen at; None if the store was made from a pool of the caller without a URL to listen at.
    """

    def __init__(
        self,
        executor: StatementExecutor,
        target: Target | None,
        keys: Keys,
        settings: StoreSettings,
        lifecycle: Lifecycle,
    ) -> None:
        super().__init__(settings, lifecycle)
        self._executor = executor
        self._target = target
        self._keys = keys
        self._subscribers = SubscriberRegistry()
        self._decoder = PayloadDecoder()
        self._timeout = settings.operation_timeout.total_seconds()
        self._listener: Listener | None = None

    async def _publish(self, encoded_event: EncodedEvent) -> None:
        payloads = encode_payloads(encoded_event.event.room_id, [encoded_event])
        # One key for all rooms, so that the events of this store arrive in the order of its calls.
        key = f"{self._keys.prefix}events"
        await self._executor.write("publish", key=key, channel=self._keys.channel, payloads=payloads)

    async def _subscribe(self, queue: EventQueue, /) -> None:
        deadline = self._executor.deadline()
        target = self._listening_target()
        if self._listener is None:
            self._listener = Listener(
                self._open_connection, self._keys.channel, self._timeout, self._on_payload, self._on_gap
            )
        failure: BaseException
        try:
            await self._listener.wait_for_earlier(deadline, lambda: self._subscribers.add(queue))
        except NoConnectionError as error:
            failure = error
        else:
            return
        raise to_store_error(failure, endpoint=target.endpoint)

    def _unsubscribe(self, queue: EventQueue, /) -> None:
        self._subscribers.discard(queue)

    def _listening_target(self) -> Target:
        target = self._target
        if target is None:
            raise ConfigurationError("the store needs a URL to listen for events: pass listen_url to PostgresStore")
        if not target.is_pooled:
            return target
        if target.direct is None:
            raise ConfigurationError(
                "PgBouncer does not pass on notifications, so the store cannot listen for events through it: add "
                "&direct=host:port with the address of the server to the URL"
            )
        return target.direct

    async def _open_connection(self, deadline: float) -> Connection:
        connection = await open_connection(self._listening_target(), deadline, session_options(self._settings))
        self._executor.statistics.connections += 1
        return connection

    def _on_payload(self, payload: str) -> None:
        decoded = self._decoder.decode(payload)
        if decoded is None:
            return
        room_id, data = decoded
        if data is None:
            self._subscribers.mark_gap([room_id])
            return
        event = self._decode(self._keys.channel, room_id, data)
        if event is not None:
            self._subscribers.dispatch((event,))

    def _on_gap(self) -> None:
        self._subscribers.mark_gap()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._listener is not None and not self._executor.forked:
            await self._listener.aclose()
