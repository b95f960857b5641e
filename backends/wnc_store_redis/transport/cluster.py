"""The router for a cluster.

`RedisCluster` of redis-py 8.1 cannot replace it. On `CLUSTERDOWN` it closes its connections to all masters, so a dead
shard would fail calls for others. It acquires one connection for ASKING and another for the command, so writes to a
migrating slot can fail. Each command occupies a connection until its reply, so commands of one tick cannot share a
write, and errors do not state whether a write was sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from redis.asyncio import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import ConnectionFactory, Pool, Reply
from wnc_store_redis.transport.errors import code_of, is_deadline
from wnc_store_redis.transport.node import Node, call, open_node
from wnc_store_redis.transport.packing import pack_command
from wnc_store_redis.transport.receiver import Receiver, forward
from wnc_store_redis.transport.replies import UnexpectedReplyError, is_slot_map
from wnc_store_redis.transport.retry import NoReplyError, RedirectedError, may_pass
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.tasks import BackgroundTasks

Address = tuple[str, int]

_SLOTS = pack_command((b"CLUSTER", b"SLOTS"))
_NO_SERVER = ResponseError("CLUSTERDOWN no server is known to serve the slot")
_REDIRECTED = RedirectedError("CLUSTERDOWN the servers redirect the command to one another")

_HUNG_AFTER = 0.25
"""If a caller cancels a call after this many seconds, the server may be down."""


class ClusterRouter:
    """Sends each command to the master that serves the slot of its key.

    There is one connection to each master, so a master that hangs does not delay commands to the others. The slot map
    is refreshed in the background after a redirection or a missing reply. Other commands continue with the old map.

    Args:
        client: a cluster client of redis-py. Its addresses, credentials and connection options are used, but not its
            connections.
        timeout: how long an operation may take, in seconds.
        is_replicated: whether a write must be on all replicas of its master before it returns.
    """

    has_failover = True

    def __init__(self, client: RedisCluster, timeout: float, statistics: Statistics, *, is_replicated: bool) -> None:
        nodes: Sequence[Any] = list(client.nodes_manager.startup_nodes.values())
        self._connection_class = nodes[0].connection_class
        self._options = dict(nodes[0].connection_kwargs)
        self._options.pop("redis_connect_func", None)  # it enables reads from replicas
        self._seeds: list[Address] = [(str(node.host), int(node.port)) for node in nodes]
        self.endpoint = ",".join(f"{host}:{port}" for host, port in self._seeds) + " (a cluster)"
        self._ask_callbacks: list[Callable[[bytes], None]] = []
        self._timeout = timeout
        self._statistics = statistics
        self._is_replicated = is_replicated
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._masters: list[Address] = []
        self._migrating: dict[int | None, Address] = {}
        """Slot -> the server that it migrates to, if that server was the last to reply."""
        self._round_robin = 0
        self._tasks, self._requests = BackgroundTasks(), BackgroundTasks()
        self._refreshing: asyncio.Task[None] | None = None
        self._slot_error: BaseException = _NO_SERVER
        self._closed = False

    def start(self) -> None:
        """See `Router.start`."""

    def submit(  # noqa: PLR0913 - what a command needs
        self,
        receiver: Receiver,
        key: bytes,
        packed: bytes,
        deadline: float,
        *,
        writes: bool,
        on_ask: bytes | None = None,
    ) -> None:
        """See `Router.submit`. A command without a key goes to any master."""
        if self._closed:
            receiver.set_exception(StoreClosedError())
            return
        request = _Request(self, receiver, key, packed, deadline, writes, on_ask)
        request.slot = key_slot(key) if key else None
        address = self._cached_address(request.slot)
        if address is None:
            forward(self._requests, self._send_later(request), receiver)
        else:
            self._send(request, address)
        if isinstance(receiver, asyncio.Future):
            future = cast("asyncio.Future[Reply]", receiver)
            future.add_done_callback(partial(self._on_done, asyncio.get_running_loop().time()))

    def _send(self, request: _Request, address: Address) -> None:
        request.address = address
        self._node(address).submit(request, request.packed, request.deadline, writes=request.writes)

    async def _send_later(self, request: _Request) -> Reply:
        """Refresh the slot map, then send a command."""
        address = await self._address(request.slot, request.deadline)
        request.receiver = reply = asyncio.get_running_loop().create_future()
        self._send(request, address)
        return await reply

    def _on_done(self, sent_at: float, reply: asyncio.Future[Reply]) -> None:
        """Refresh the slot map after a caller stopped waiting for a server that may be down."""
        if reply.cancelled() and asyncio.get_running_loop().time() - sent_at > _HUNG_AFTER:
            self.refresh_slots()

    def on_reply(self, request: _Request, reply: Reply) -> None:
        """Pass on the reply to a command. After ASK, send the command to another server first."""
        slot = request.slot
        if not isinstance(reply, ResponseError):
            if self._migrating:
                self._migrating.pop(slot, None)
            request.receiver.set_result(reply)
        elif code_of(reply) == "ASK" and not request.done():
            forward(self._requests, self._follow(request, reply), request.receiver)
        else:
            request.receiver.set_result(self._update_slot(slot, reply, request.address))

    async def _follow(self, request: _Request, redirection: ResponseError) -> Reply:
        """Follow an ASK redirection. It is for this command only, because the slot is migrating."""
        self._statistics.retries += 1
        address, slot, deadline = request.address, request.slot, request.deadline
        try:
            if request.on_ask is not None:
                reply = await call(self._node(address), request.on_ask, deadline)
                is_redirected = False
            else:
                target = _target(redirection, address)
                if target is None:
                    return _REDIRECTED
                address, is_redirected = target, True
                reply = await call(self._node(address), request.packed, deadline, writes=request.writes, asking=True)
        except NoReplyError:
            self.refresh_slots()
            raise
        if isinstance(reply, ResponseError):
            return self._update_slot(slot, reply, address)
        if is_redirected and slot is not None:
            self._migrating[slot] = address
            if request.writes:
                for callback in self._ask_callbacks:
                    callback(request.key)
        else:
            self._migrating.pop(slot, None)
        return reply

    def on_ask_redirect(self, callback: Callable[[bytes], None]) -> None:
        """Register a callback for writes that ran on the server that their slot migrates to. Its argument is the key.

        Until the migration ends, subscribers are on the other server, so events that such a script publishes are lost.
        """
        self._ask_callbacks.append(callback)

    async def master_of(self, key: bytes, deadline: float) -> Address:
        """Return the master that serves the slot of a key or a channel.

        Raises:
            StoreClosedError: the router was closed.
            NoReplyError: no master is known.
        """
        if self._closed:
            raise StoreClosedError
        return await self._address(key_slot(key), deadline)

    async def check_master(self, key: bytes, address: Address, deadline: float) -> None:
        """Raise the reply of a server that does not serve the key as a master. Replicas reply to reads with MOVED."""
        reply = await call(self._node(address), pack_command((b"EXISTS", key)), deadline)
        if isinstance(reply, ResponseError) and code_of(reply) != "ASK":  # a master sends ASK while the slot migrates
            raise reply

    def handle_error(self, error: Exception, key: bytes, address: Address | None) -> BaseException:
        """Update the slot map after a server failed for a key. Return the failure of the attempt."""
        reason = error.reason if isinstance(error, NoReplyError) else error
        return self._update_slot(key_slot(key), reason, address)

    def refresh_slots(self) -> None:
        """Refresh the slot map in the background: a server that is down sends no redirections."""
        if not self._closed:
            self._refresh()

    def connections(self, address: Address) -> Pool:
        """Return a source of connections to a server."""
        return ConnectionFactory(self._connection_class, {**self._options, "host": address[0], "port": address[1]})

    def drop(self, key: bytes) -> None:
        """See `Router.drop`."""
        slot = key_slot(key)
        servers = {self._slots[slot], self._migrating.get(slot)} if key else self._nodes
        for address in servers:
            if address in self._nodes:
                self._nodes[address].drop()

    def server_epoch(self, key: bytes) -> Hashable:
        """See `Router.server_epoch`."""
        slot = key_slot(key)
        address = self._migrating.get(slot) or self._slots[slot]
        return None if address is None else (address, self._node(address).disconnects)

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        self._closed = True
        await self._tasks.aclose()
        await asyncio.gather(*(node.aclose() for node in self._nodes.values()))

    async def _address(self, slot: int | None, deadline: float) -> Address:
        """Return the master of a slot, or any master if `slot` is None.

        Raises:
            NoReplyError: a refresh of the slot map found none, or no server replied before the deadline.
            StoreClosedError: the router was closed during the refresh.
        """
        address = self._cached_address(slot)
        if address is None:
            refreshing = self._refresh()
            await asyncio.wait([refreshing], timeout=deadline - asyncio.get_running_loop().time())
            if not refreshing.done():
                raise NoReplyError(TimeoutError(), sent=False)
            if refreshing.cancelled():
                raise StoreClosedError
            refreshing.result()
            address = self._cached_address(slot)
        if address is None:
            raise NoReplyError(self._slot_error, sent=False)
        return address

    def _cached_address(self, slot: int | None) -> Address | None:
        if slot is not None:
            return self._slots[slot]
        self._round_robin += 1
        return self._masters[self._round_robin % len(self._masters)] if self._masters else None

    def _update_slot(self, slot: int | None, failure: BaseException, sender: Address | None) -> BaseException:
        """Update the slot map after a failure. Return the failure, or `_REDIRECTED` in place of a redirection."""
        code = code_of(failure) if isinstance(failure, ResponseError) else ""
        if code == "MOVED" and slot is not None and sender is not None:
            self._slots[slot] = _target(failure, sender) or self._slots[slot]
        if code == "MOVED" or may_pass(failure):
            self._refresh()
        return _REDIRECTED if code in {"MOVED", "ASK"} else failure

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            if self._closed:
                raise StoreClosedError
            pool = self.connections(address)
            node = self._nodes[address] = open_node(
                pool, self._timeout, self._statistics, is_replicated=self._is_replicated
            )
        return node

    def _refresh(self) -> asyncio.Task[None]:
        """Start to refresh the slot map, unless a refresh is in progress."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self._tasks.spawn(self._refresh_slot_map())
        return self._refreshing

    async def _refresh_slot_map(self) -> None:
        """Query all known servers, and use the first slot map that arrives."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        addresses = dict.fromkeys((*self._masters, *self._seeds))
        queries = {asyncio.ensure_future(self._query_slots(address, deadline)) for address in addresses}
        failures: list[BaseException] = []
        try:
            for query in asyncio.as_completed(queries):
                ranges = await query
                if not isinstance(ranges, list):
                    failures.append(ranges)
                elif ranges:
                    self._slot_error = _NO_SERVER
                    self._slots = [None] * REDIS_CLUSTER_HASH_SLOTS
                    for first, last, address in ranges:
                        self._slots[first : last + 1] = [address] * (last + 1 - first)
                    self._masters = list(dict.fromkeys(address for _, _, address in ranges))
                    return
            permanent = (failure for failure in failures if not may_pass(failure))
            self._slot_error = next(permanent, failures[-1] if failures else _NO_SERVER)
        finally:
            for query in queries:
                query.cancel()

    async def _query_slots(self, address: Address, deadline: float) -> list[tuple[int, int, Address]] | BaseException:
        """Return the slot ranges and their masters, an empty list if the server hangs, or the error of the query."""
        try:
            reply = await call(self._node(address), _SLOTS, deadline)
        except NoReplyError as error:
            return [] if is_deadline(error.reason) else error.reason
        except StoreClosedError:
            return []
        if isinstance(reply, ResponseError):
            return reply
        if not is_slot_map(reply):
            self._node(address).drop()
            return UnexpectedReplyError()
        return [
            (first, last, (host, int(master[1])))
            for first, last, master, *_ in cast("list[Any]", reply)
            if (host := _host(master[0], address))
        ]


@dataclass(slots=True, eq=False, repr=False)
class _Request:
    """A command that was sent to a server. It receives the server's reply; see `Router.submit` for its fields."""

    router: ClusterRouter
    receiver: Receiver
    key: bytes
    packed: bytes
    deadline: float
    writes: bool
    on_ask: bytes | None
    slot: int | None = None
    address: Address = ("", 0)

    def done(self) -> bool:
        """See `Receiver.done`."""
        return self.receiver.done()

    def set_result(self, result: Reply, /) -> None:
        """See `Receiver.set_result`."""
        self.router.on_reply(self, result)

    def set_exception(self, exception: BaseException, /) -> None:
        """See `Receiver.set_exception`. A replica may have replaced the server, which then sends no MOVED."""
        if isinstance(exception, NoReplyError):
            self.router.refresh_slots()
        self.receiver.set_exception(exception)


def _host(reported: bytes | str | None, queried: Address) -> str:
    """Return the host of a server, or "" if it is unknown. An empty host stands for the host that was queried."""
    host = reported.decode(errors="replace") if isinstance(reported, bytes) else reported or ""
    return "" if host == "?" else host or queried[0]


def _target(redirection: BaseException, sender: Address) -> Address | None:
    """Parse `MOVED slot host:port` or `ASK slot host:port`. An empty host stands for the host of the sender."""
    match = re.fullmatch(r"\w+ \d+ (\S*):(\d{1,5})", str(redirection))
    return match and (match[1] or sender[0], int(match[2]))


def is_moved(error: BaseException) -> bool:
    """Return whether a server replied with MOVED: it does not serve the slot."""
    return isinstance(error, ResponseError) and code_of(error) == "MOVED"
