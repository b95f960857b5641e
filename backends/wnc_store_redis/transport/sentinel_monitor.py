"""What the Sentinels say of a service: who is master, and whether that is about to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from wnc_store_redis.transport.errors import UnknownServiceError
from wnc_store_redis.transport.tasks import cancel_all

Address = tuple[str, int]

_POLL_INTERVAL = 1.0
"""Seconds between looks at a Sentinel that tells nothing by itself."""

_DISCOVERY_GRACE = 0.5
"""Seconds that a search for the master waits for those Sentinels that do not answer, when others have."""

_RECONNECT_DELAY = 0.25

_DOWN = {"s_down", "o_down"}
_UNKNOWN_HOST = {"", "?"}


@dataclass(frozen=True, slots=True)
class _SentinelState:
    """What one Sentinel says."""

    epoch: int
    master: Address
    is_failing_over: bool
    replicas: int


class SentinelMonitor:
    """A watch over the Sentinels of a service.

    Each is looked at whenever it publishes anything, and once a second. The one with the newest configuration is right.
    The leader of a failover has it as soon as it sees the replica promoted, before it publishes `+switch-master`.

    Args:
        sentinels: clients of them.
        service: the name that they know the service by.
        on_change: called when any of them says something new.
        with_replicas: whether to count replicas.
    """

    def __init__(
        self, sentinels: Sequence[Redis], service: str, on_change: Callable[[], None], *, with_replicas: bool
    ) -> None:
        self._sentinels = list(sentinels)  # redis-py reorders its own
        self._service = service
        self._on_change = on_change
        self._with_replicas = with_replicas
        self._states: dict[Redis, _SentinelState] = {}
        self._changed = asyncio.Event()
        self._failure: Exception | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def master(self) -> Address | None:
        """The master's address, if any Sentinel has told it."""
        newest = max(self._states.values(), key=lambda view: view.epoch, default=None)
        return newest and newest.master

    def replicas(self) -> int:
        """Return how many replicas of the master may be promoted, by the Sentinel that knows of most."""
        master = self.master
        return max((view.replicas for view in self._states.values() if view.master == master), default=0)

    def start(self) -> None:
        """Begin to listen, if not yet done."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._listen(sentinel)) for sentinel in self._sentinels]

    async def wait_stable(self, deadline: float) -> bool:
        """Return when no replica is being promoted; tell whether that was in time."""
        while self._is_failing_over():
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True

    async def discover_master(self) -> Address:
        """Ask for the master's address.

        Raises:
            Exception: no Sentinel could be asked.
        """
        looks = [asyncio.ensure_future(self._poll(sentinel)) for sentinel in self._sentinels]
        try:
            await asyncio.wait(looks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(looks, timeout=_DISCOVERY_GRACE if self._states else None)
        finally:
            for look in looks:
                look.cancel()
        if self.master is None:
            raise self._failure or ConnectionError("no Sentinel answers")
        return self.master

    async def aclose(self) -> None:
        """Stop to listen."""
        self._closed = True
        await cancel_all(self._tasks)

    def _is_failing_over(self) -> bool:
        master = self.master
        return any(view.is_failing_over and view.master == master for view in self._states.values())

    async def _listen(self, sentinel: Redis) -> None:
        while not self._closed:
            with suppress(Exception):  # it is dead, or on its way there
                async with cast("Any", sentinel).pubsub() as channel:
                    await channel.psubscribe("*")
                    while not self._closed:
                        await self._poll(sentinel)
                        await channel.get_message(timeout=_POLL_INTERVAL)
            await asyncio.sleep(_RECONNECT_DELAY)

    async def _poll(self, sentinel: Redis) -> None:
        """Ask one Sentinel; one that can't be asked has no say."""
        try:
            view = await self._query(sentinel)
        except Exception as error:  # noqa: BLE001 - a dead connection is not always a RedisError or OSError
            self._failure = error
            view = None
        if view == self._states.get(sentinel):
            return
        if view is None:
            del self._states[sentinel]
        else:
            self._states[sentinel] = view
        news, self._changed = self._changed, asyncio.Event()
        news.set()
        self._on_change()

    async def _query(self, sentinel: Redis) -> _SentinelState:
        async with sentinel.pipeline(transaction=False) as asked:
            plain: Any = asked
            plain.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            plain.execute_command("SENTINEL", "MASTER", self._service)
            if self._with_replicas:
                plain.execute_command("SENTINEL", "REPLICAS", self._service)
            address, about, *others = await plain.execute(raise_on_error=False)
        for answer in (about, address, *others):
            if isinstance(answer, ResponseError):
                raise UnknownServiceError if "No such master" in str(answer) else answer
        if address is None:
            raise UnknownServiceError
        host, port = (_text(part) for part in address)
        master = (host, int(port))
        fields = _fields(about)
        replicas = sum(_is_promotable(_fields(one), master) for one in (others[0] if others else ()))
        is_promoted = master != (
            fields["ip"],
            int(fields["port"]),
        )  # of the replica: what comes next concerns it no more
        is_failing_over = "failover_in_progress" in fields["flags"] and not is_promoted
        return _SentinelState(int(fields["config-epoch"]), master, is_failing_over, replicas)


def _is_promotable(replica: Mapping[str, str], master: Address) -> bool:
    """Tell whether a replica may be promoted, by what a Sentinel says of it.

    A Sentinel does not yet know the master of one that was master itself until just now, and can't promote it.
    """
    if (replica["ip"], int(replica["port"])) == master or replica.get("master-host", "") in _UNKNOWN_HOST:
        return False
    return not _DOWN & set(replica["flags"].split(","))


def _fields(reply: Any) -> dict[str, str]:
    """Return the fields of an answer, which RESP2 gives as a flat list and RESP3 as a map."""
    if isinstance(reply, dict):
        return {_text(name): _text(value) for name, value in cast("dict[Any, Any]", reply).items()}
    texts = [_text(part) for part in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
