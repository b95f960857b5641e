"""Loads of every kind under random faults of a network, each chosen by a seed, and the checks of their results."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chaos.loads import Calls, Events, Restores, Sweeps
from chaos.targets import MakeTarget, redis_target
from proxy import HOWS, Cut, Proxy, Side, proxy_to
from waiting import wait_until
from wnc_store import StoreSettings, open_store
from wnc_store_contract.faults.worker import SETTINGS

_CUTS = 16
_LATE_CUTS = 9
_PUBLISHING = SETTINGS.model_copy(update={"publish_changes": True})
_TIMEOUT = 0.3
_HURRIED = _PUBLISHING.model_copy(update={"operation_timeout": timedelta(seconds=_TIMEOUT)})
_FINAL = 3.5 * _TIMEOUT
"""Seconds. A write fails after at most one time-out, and its outcome is final after two more."""


class _Network:
    """Faults of a network."""

    def __init__(self, proxy: Proxy, seed: int, bytes_between: int) -> None:
        self._proxy = proxy
        self._bytes = bytes_between
        self._chance = random.Random(seed)  # noqa: S311 - repeatable

    async def cut(self) -> None:
        """Cut connections at random bytes, in order or by a reset. After some, reject connections for a while."""
        for number in range(_CUTS):
            is_down = number % 3 == 0
            await self._cut(self._chance.choice(("request", "reply", "reply")), stay_down=is_down)
            await asyncio.sleep(is_down * 0.02)
            self._proxy.refusing = False

    async def slow_cut(self) -> None:
        """Do the same while each chunk is delayed, so that others act before the client has connected again."""
        self._proxy.delay = 0.003
        await self.cut()

    async def deliver_late(self) -> None:
        """Delay chunks differently, cut requests, and deliver the rest later, one of them when it is final."""
        self._proxy.jitter = 0.003
        for number in range(_LATE_CUTS):
            is_down = number == _LATE_CUTS // 2
            await self._cut("request", late=True, stay_down=is_down)
            if is_down:
                self._proxy.cut_all()
            await asyncio.sleep(_FINAL if is_down else self._chance.random() * _TIMEOUT / 2)
            await self._proxy.deliver()
            self._proxy.refusing = False

    async def _cut(self, side: Side, *, late: bool = False, stay_down: bool = False) -> None:
        await asyncio.sleep(0.02 + self._chance.random() * 0.06)  # else most cuts would hit the next handshake
        # Small numbers cut the short replies to writes, too. Random ones would hit the long replies to reads instead.
        after = self._chance.randrange(self._chance.choice((5, self._bytes)))
        self._proxy.arm(Cut(side, after, self._chance.choice(HOWS), late=late, stay_down=stay_down))
        await wait_until(lambda: not self._proxy.cut_pending)


@dataclass(frozen=True)
class Mode:
    """How the network fails.

    Attributes:
        faults: the faults.
        direct: number of stores whose connections are not cut, besides the one whose connections are.
        settings: the settings of the stores.
        impatient: the share of calls that are cancelled. It is not known when their outcomes are final.
    """

    faults: Callable[[_Network], Coroutine[Any, Any, None]]
    direct: int
    settings: StoreSettings
    impatient: float = 0.04


MODES = {
    "cuts": Mode(_Network.cut, 0, _PUBLISHING),
    "late": Mode(_Network.deliver_late, 1, _HURRIED, impatient=0),
    "two stores": Mode(_Network.slow_cut, 1, _PUBLISHING),
}

KINDS: dict[str, tuple[type[Calls], Mapping[str, Sequence[str]]]] = {
    "messages": (Calls, {"chats": ("A",)}),
    "rooms": (Calls, {"rooms": ("A", "B")}),
    "leases": (Calls, {"connections": ("A",)}),
    "limits": (Calls, {"limits": ("A", "B")}),
    "restore": (Restores, {"restores": ("A",)}),
    "sweep": (Sweeps, {"rooms": ("A",)}),
    "events": (Events, {"rooms": ("A",), "chats": ("A",), "events": ("A",)}),
}
"""Kind of load -> its class and keys."""

_BYTES = {"sweep": 60_000}
"""Maximum of bytes between two cuts. A sweep needs more than others."""


async def under_faults(
    kind: str, mode: str, seed: int, make_target: MakeTarget = redis_target
) -> tuple[Sequence[str], int]:
    """Run a load on a new server under faults. Return the violations, and the number of calls that succeeded."""
    chosen, (load_class, keys) = MODES[mode], KINDS[kind]
    async with make_target() as target:
        async with AsyncExitStack() as stack:
            proxy = await stack.enter_async_context(proxy_to(target.port))
            urls = [target.url(port) for port in (proxy.port, *[target.port] * chosen.direct)]
            stores = [await stack.enter_async_context(open_store(url, settings=chosen.settings)) for url in urls]
            load = load_class(stores, target, seed, chosen.impatient, keys)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run())
                await wait_until(lambda: load.history)
                await chosen.faults(_Network(proxy, seed, _BYTES.get(kind, 3000)))
                proxy.disarm()
                load.stop()
        return list(load.problems(await target.ledger())), sum(one.answer == "ok" for one in load.history)
