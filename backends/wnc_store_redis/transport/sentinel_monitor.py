"""Monitoring of Sentinels: the master of a service, and failovers.

redis-py's `Sentinel` cannot replace this module. It queries the Sentinels one after another, and only when it opens a
connection. So writes would continue on the old master while a replica is promoted, and the failover would lose them.
Connections to the old master would stay open after `+switch-master`. The first reply would be authoritative, even if
another Sentinel has a higher configuration epoch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from wnc_store_redis.transport.errors import UnknownServiceError
from wnc_store_redis.transport.tasks import BackgroundTasks

Address = tuple[str, int]

_POLL_INTERVAL = 1.0
"""Seconds between polls of a Sentinel that publishes nothing."""

_DISCOVERY_GRACE = 0.5
"""Seconds that a discovery of the master waits for more Sentinels after the first reply."""

_RECONNECT_DELAY = 0.25

_DOWN = {"s_down", "o_down"}
_UNKNOWN_HOST = {"", "?"}


@dataclass(frozen=True, slots=True)
class _SentinelState:
    """The state of the service, as one Sentinel reports it."""

    epoch: int
    master: Address
    is_failing_over: bool
    replicas: int


class SentinelMonitor:
    """Polls the Sentinels of a service.

    Each Sentinel is polled whenever it publishes a message, and once a second. The state with the highest configuration
    epoch is authoritative. The leader of a failover raises the epoch when the replica is promoted, before it publishes
    `+switch-master`.

    Args:
        sentinels: a client for each Sentinel. `aclose` closes them.
        service: the name of the service.
        on_change: called when any Sentinel reports a new state.
        with_replicas: whether to count replicas.
    """

    def __init__(
        self, sentinels: Sequence[Redis], service: str, on_change: Callable[[], None], *, with_replicas: bool
    ) -> None:
        self._sentinels = sentinels
        self._service = service
        self._on_change = on_change
        self._with_replicas = with_replicas
        self._states: dict[Redis, _SentinelState] = {}
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._tasks = BackgroundTasks()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def master(self) -> Address | None:
        """The address of the master, or None if no Sentinel has reported it."""
        newest = max(self._states.values(), key=lambda state: state.epoch, default=None)
        return newest and newest.master

    def replicas(self) -> int:
        """Return how many replicas of the master can be promoted: the maximum that a Sentinel reports."""
        master = self.master
        return max((state.replicas for state in self._states.values() if state.master == master), default=0)

    def start(self) -> None:
        """Start to poll the Sentinels, unless that is already done."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for sentinel in self._sentinels:
                self._tasks.spawn(self._listen(sentinel))

    def is_failing_over(self) -> bool:
        """Return whether a Sentinel reports that a replica of the master is being promoted."""
        master = self.master
        return any(state.is_failing_over and state.master == master for state in self._states.values())

    async def wait_stable(self, deadline: float) -> bool:
        """Wait until no failover is in progress. Return False if the deadline passes first."""
        while self.is_failing_over():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True

    async def discover_master(self) -> Address:
        """Query the Sentinels for the address of the master.

        Raises:
            Exception: no Sentinel reported a master.
        """
        polls = [asyncio.ensure_future(self._poll(sentinel)) for sentinel in self._sentinels]
        try:
            await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(polls, timeout=_DISCOVERY_GRACE if self._states else None)
        finally:
            for poll in polls:
                poll.cancel()
        if self.master is None:
            raise self._failure or ConnectionError("no Sentinel replied")
        return self.master

    async def aclose(self) -> None:
        """Stop polling the Sentinels, and close their clients."""
        if self._loop in {None, asyncio.get_running_loop()}:  # else a parent process uses them
            await self._tasks.aclose()
            for sentinel in self._sentinels:
                await sentinel.aclose(close_connection_pool=True)

    async def _listen(self, sentinel: Redis) -> None:
        while True:
            with suppress(Exception):  # the connection was lost: open another one below
                async with cast("Any", sentinel).pubsub() as channel:
                    await channel.psubscribe("*")
                    while True:
                        await self._poll(sentinel)
                        await channel.get_message(timeout=_POLL_INTERVAL)
            await asyncio.sleep(_RECONNECT_DELAY)

    async def _poll(self, sentinel: Redis) -> None:
        """Query one Sentinel and store its state. Discard the state of a Sentinel that does not reply."""
        try:
            state = await self._query(sentinel)
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._failure = error
            state = None
        if state == self._states.get(sentinel):
            return
        if state is None:
            del self._states[sentinel]
        else:
            self._states[sentinel] = state
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._on_change()

    async def _query(self, sentinel: Redis) -> _SentinelState:
        async with sentinel.pipeline(transaction=False) as typed_pipeline:
            pipeline: Any = typed_pipeline
            pipeline.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            pipeline.execute_command("SENTINEL", "MASTER", self._service)
            if self._with_replicas:
                pipeline.execute_command("SENTINEL", "REPLICAS", self._service)
            address, master_reply, *replica_replies = await pipeline.execute(raise_on_error=False)
        for reply in (master_reply, address, *replica_replies):
            if isinstance(reply, ResponseError):
                raise UnknownServiceError if "No such master" in str(reply) else reply
        if address is None:
            raise UnknownServiceError
        host, port = (_text(part) for part in address)
        master = (host, int(port))
        fields = _fields(master_reply)
        listed = replica_replies[0] if replica_replies else ()
        replicas = sum(_is_promotable(_fields(replica), master) for replica in listed)
        # GET-MASTER-ADDR-BY-NAME returns the promoted replica as soon as the promotion is complete.
        is_promoted = master != (fields["ip"], int(fields["port"]))
        is_failing_over = "failover_in_progress" in fields["flags"] and not is_promoted
        return _SentinelState(int(fields["config-epoch"]), master, is_failing_over, replicas)


def _is_promotable(replica: Mapping[str, str], master: Address) -> bool:
    """Return whether a Sentinel can promote a replica.

    It cannot promote a former master until it knows the new master of that server.
    """
    if (replica["ip"], int(replica["port"])) == master or replica.get("master-host", "") in _UNKNOWN_HOST:
        return False
    return not _DOWN & set(replica["flags"].split(","))


def _fields(reply: Any) -> dict[str, str]:
    """Return the fields of a reply, which is a flat list over RESP2 and a map over RESP3."""
    # Not by the parser of redis-py: over RESP3, version 6.4 raises a KeyError.
    if isinstance(reply, dict):
        return {_text(name): _text(value) for name, value in cast("dict[Any, Any]", reply).items()}
    texts = [_text(part) for part in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
