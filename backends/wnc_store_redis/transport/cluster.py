"""The route to the servers of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import ResponseError

from wnc_store import StoreClosedError
from wnc_store_redis.transport.connection import ConnectionFactory, Pool, Reply
from wnc_store_redis.transport.errors import code_of
from wnc_store_redis.transport.multiplexer import NoReplyError
from wnc_store_redis.transport.node import NodeClient, pack_command
from wnc_store_redis.transport.routing import Backoff, is_retryable
from wnc_store_redis.transport.statistics import Statistics
from wnc_store_redis.transport.tasks import cancel_all

Address = tuple[str, int]
Refusal = ResponseError | NoReplyError

_SLOTS = pack_command((b"CLUSTER", b"SLOTS"))
_NO_SERVER = ResponseError("CLUSTERDOWN no server is known for the slot")
_NO_AGREEMENT = ResponseError("CLUSTERDOWN the servers send the command to one another")
_RETRYABLE = {"CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "LOADING", "READONLY", "NOREPLICAS"}
"""Definite refusals that a failover or the migration of a slot brings along, and ends."""

_HUNG_AFTER = 0.25
"""Seconds after which a call whose caller gives it up says something about the server."""

_FREE_REDIRECTIONS = 3
"""How often a command follows the servers' directions without a pause."""


@dataclass(frozen=True, slots=True)
class _Redirection:
    """Where a command belongs, and whether that is so for this command only, because a slot is on its way."""

    target: Address
    is_ask: bool


class ClusterRouter:
    """A connection to each master, so that one which does not answer keeps nobody from the others.

    The servers tell which of them has which slots. That is asked for again whenever a command was sent elsewhere or
    got no answer, in the background: other commands go on by what is known.

    Args:
        client: redis-py's; its addresses, credentials and connection options are used, and its own connections are not.
        timeout: how long an operation may take, in seconds.
        counts: of the store.
        is_replicated: whether a write has to be on all replicas of its master before it counts as done.
    """

    is_sharded = True

    def __init__(self, client: RedisCluster, timeout: float, counts: Statistics, *, is_replicated: bool) -> None:
        nodes: Sequence[Any] = list(client.nodes_manager.startup_nodes.values())
        self._connection_class = nodes[0].connection_class
        self._options = {
            name: value
            for name, value in nodes[0].connection_kwargs.items()
            if name not in {"host", "port", "redis_connect_func"}  # which is for reading from replicas
        }
        self._seeds: list[Address] = [(str(node.host), int(node.port)) for node in nodes]
        self.endpoint = ",".join(f"{host}:{port}" for host, port in self._seeds) + " (a cluster)"
        self._ask_callbacks: list[Callable[[bytes], None]] = []
        self._timeout = timeout
        self._counts = counts
        self._is_replicated = is_replicated
        self._nodes: dict[Address, NodeClient] = {}
        self._slots: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._masters: list[Address] = []
        self._migrating: dict[int, Address] = {}
        self._round_robin = 0
        self._refreshing: asyncio.Task[None] | None = None
        self._refusal: Refusal = _NO_SERVER
        self._closed = False

    async def submit(
        self, key: bytes, packed: bytes, deadline: float, *, writes: bool, instead: bytes | None = None
    ) -> Reply:
        """See `Router.submit`; a command without a key goes to any master."""
        self.check_loop()
        slot = key_slot(key) if key else None
        pauses, redirections = Backoff(deadline), 0
        asked: Address | None = None
        while True:
            address = asked or await self._address(slot, deadline)
            outcome = await self._try(address, packed, deadline, writes=writes, asking=asked is not None)
            redirection = None if address is None else _redirection(outcome, address)
            if redirection is None and not _is_retryable(outcome):
                break
            asked = redirection.target if redirection is not None and redirection.is_ask else None
            if asked is not None and instead is not None:
                asked, packed, instead = None, instead, None
            self._update_slot(slot, redirection)
            redirections += redirection is not None
            is_free = redirection is not None and redirections <= _FREE_REDIRECTIONS
            if not is_free and not await pauses.sleep():
                break
            self._counts.retries += 1
        if isinstance(outcome, NoReplyError):
            raise outcome
        if redirection is not None:
            return _NO_AGREEMENT
        self._track_migration(slot, asked)
        if writes and asked is not None and not isinstance(outcome, ResponseError):
            for call in self._ask_callbacks:
                call(key)
        return outcome

    def check_loop(self) -> None:
        """See `Router.check_loop`."""
        self._node(self._seeds[0]).check_loop()

    def on_ask_redirect(self, call: Callable[[bytes], None]) -> None:
        """Have something called with the key whenever a write was run where the key's slot is going.

        Until the slot is there, its channels are where it comes from, so nobody hears what such a script publishes.
        """
        self._ask_callbacks.append(call)

    async def master_of(self, key: bytes, deadline: float) -> Address:
        """Return the server that has the slot of a key or a channel, as far as that is known; wait until one has it.

        Raises:
            StoreClosedError: the route was closed.
            Exception: there is none in time.
        """
        pauses = Backoff(deadline)
        while True:
            if self._closed:
                raise StoreClosedError
            try:
                address = await self._address(key_slot(key), deadline)
            except NoReplyError as unanswered:
                raise unanswered.reason from None
            if address is not None:
                return address
            if not await pauses.sleep():
                raise ResponseError(*_NO_SERVER.args)

    async def check_master(self, key: bytes, address: Address, deadline: float) -> None:
        """Raise what a server refuses to read a key with: a replica does, unless a connection asks for such reads."""
        try:
            reply = await self._node(address).submit(pack_command((b"EXISTS", key)), deadline, writes=False)
        except NoReplyError as unanswered:
            raise unanswered.reason from None
        if isinstance(reply, ResponseError) and code_of(reply) != "ASK":  # which a master says whose slot moves
            raise reply

    def handle_error(self, failure: Exception, key: bytes, address: Address) -> bool:
        """Take note of how a server failed that was asked about a key; tell whether another attempt makes sense."""
        outcome = failure if isinstance(failure, ResponseError) else NoReplyError(failure, sent=False)
        redirection = _redirection(outcome, address)
        if redirection is None and not _is_retryable(outcome):
            return False
        self._update_slot(key_slot(key), redirection)
        return True

    def refresh_slots(self) -> None:
        """Ask again which server has which slots: one that is dead may say nothing."""
        if not self._closed:
            self._refresh()

    def connections(self, address: Address) -> Pool:
        """Return what connections to a server come from."""
        return ConnectionFactory(self._connection_class, {**self._options, "host": address[0], "port": address[1]})

    def server_epoch(self, key: bytes) -> Hashable:
        """See `Router.server_epoch`."""
        slot = key_slot(key)
        address = self._migrating.get(slot) or self._slots[slot]
        return None if address is None else (address, self._node(address).disconnects)

    async def aclose(self) -> None:
        """See `Router.aclose`."""
        self._closed = True
        refreshing = self._refreshing
        if refreshing is not None and refreshing.get_loop() is asyncio.get_running_loop():  # else a fork's parent's
            await cancel_all([refreshing])
        await asyncio.gather(*(server.aclose() for server in self._nodes.values()))

    async def _address(self, slot: int | None, deadline: float) -> Address | None:
        """Return the server that has a slot, or any master if it is None; None if there is none that is known."""
        address = self._cached_address(slot)
        if address is None:
            await self._refreshed(deadline)
            address = self._cached_address(slot)
        return address

    def _cached_address(self, slot: int | None) -> Address | None:
        if slot is not None:
            return self._slots[slot]
        self._round_robin += 1
        return self._masters[self._round_robin % len(self._masters)] if self._masters else None

    async def _try(
        self, address: Address | None, packed: bytes, deadline: float, *, writes: bool, asking: bool
    ) -> Reply | NoReplyError:
        if address is None:
            return self._refusal
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            return await self._node(address).submit(packed, deadline, writes=writes, asking=asking)
        except NoReplyError as unanswered:
            self._refresh()  # it may hang while a replica has taken its place: then nobody says MOVED
            return unanswered
        except asyncio.CancelledError:
            if loop.time() - began > _HUNG_AFTER:  # likewise, and the caller has less patience
                self._refresh()
            raise

    def _update_slot(self, slot: int | None, redirection: _Redirection | None) -> None:
        """Go by a lasting redirection from now on, and ask which others there are."""
        if redirection is not None and redirection.is_ask:
            return
        if redirection is not None and slot is not None:
            self._slots[slot] = redirection.target
        self._refresh()

    def _node(self, address: Address) -> NodeClient:
        server = self._nodes.get(address)
        if server is None:
            if self._closed:
                raise StoreClosedError
            pool = self.connections(address)
            server = self._nodes[address] = NodeClient(
                pool, self._timeout, self._counts, is_replicated=self._is_replicated
            )
        return server

    def _candidates(self) -> Sequence[Address]:
        return list(dict.fromkeys([*self._masters, *self._seeds]))

    def _track_migration(self, slot: int | None, asked: Address | None) -> None:
        """Remember who answered for a slot."""
        if slot is None:
            return
        if asked is not None:
            self._migrating[slot] = asked
        elif self._migrating:
            self._migrating.pop(slot, None)

    def _refresh(self) -> asyncio.Task[None]:
        """Begin to ask which server has which slots, unless that is under way."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh_slot_map())
        return self._refreshing

    async def _refreshed(self, deadline: float) -> None:
        """Wait for an answer, with whoever else waits for one.

        Raises:
            Unanswered: nobody answered in time.
            StoreClosedError: the route was closed meanwhile.
        """
        refreshing = self._refresh()
        await asyncio.wait([refreshing], timeout=deadline - asyncio.get_running_loop().time())
        if not refreshing.done():
            raise NoReplyError(TimeoutError(), sent=False)
        if refreshing.cancelled():
            raise StoreClosedError
        refreshing.result()

    async def _refresh_slot_map(self) -> None:
        """Ask all servers that are known, and believe the first that answers."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        asked = {asyncio.ensure_future(self._query_slots(address, deadline)) for address in self._candidates()}
        refusals: list[Refusal] = []
        try:
            for answer in asyncio.as_completed(asked):
                found = await answer
                if not isinstance(found, list):
                    refusals.append(found)
                elif found:
                    self._refusal = _NO_SERVER
                    self._slots = [None] * REDIS_CLUSTER_HASH_SLOTS
                    for first, last, address in found:
                        self._slots[first : last + 1] = [address] * (last + 1 - first)
                    self._masters = list(dict.fromkeys(address for _, _, address in found))
                    return
            lasting = (refusal for refusal in refusals if not _is_retryable(refusal))
            self._refusal = next(lasting, refusals[-1] if refusals else _NO_SERVER)
        finally:
            for one in asked:
                one.cancel()

    async def _query_slots(self, address: Address, deadline: float) -> list[tuple[int, int, Address]] | Refusal:
        """Return ranges of slots and who has them, or why the server can't tell."""
        try:
            reply = await self._node(address).submit(_SLOTS, deadline, writes=False)
        except NoReplyError as unanswered:
            is_silent = isinstance(unanswered.reason, TimeoutError)
            return [] if is_silent else NoReplyError(unanswered.reason, sent=False)  # the caller's command was not
        except StoreClosedError:
            return []
        if isinstance(reply, ResponseError):
            return reply
        ranges = cast("list[Any]", reply)
        return [
            (first, last, (_host(master[0], address), int(master[1])))
            for first, last, master, *_ in ranges
            if _host(master[0], address)
        ]


def _host(told: bytes | str | None, asked: Address) -> str:
    """Return a server's host; a server that does not know its own name means the one that it was reached by."""
    host = told.decode() if isinstance(told, bytes) else told or ""
    return "" if host == "?" else host or asked[0]


def _redirection(outcome: Reply | NoReplyError, asked: Address) -> _Redirection | None:
    """Read `MOVED slot host:port` or `ASK slot host:port`."""
    if not isinstance(outcome, ResponseError) or code_of(outcome) not in {"MOVED", "ASK"}:
        return None
    code, _, target = str(outcome).split()[:3]
    host, _, port = target.rpartition(":")
    return _Redirection((host or asked[0], int(port)), code == "ASK")


def is_moved(error: BaseException) -> bool:
    """Tell whether a server has said that it has not the slot."""
    return isinstance(error, ResponseError) and code_of(error) == "MOVED"


def _is_retryable(outcome: Reply | NoReplyError) -> bool:
    """Tell whether the command surely was not run, and may be a moment later."""
    if isinstance(outcome, NoReplyError):
        return is_retryable(outcome)
    return isinstance(outcome, ResponseError) and code_of(outcome) in _RETRYABLE
