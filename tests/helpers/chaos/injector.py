"""Injector of random faults into connections and the server, chosen by a seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from redis.exceptions import RedisError

from chaos.server import DurableServer, admin
from proxy import HOWS, SIDES, Cut, Proxy
from waiting import wait_until

_BYTES_BETWEEN = 100_000
"""Bytes through each proxy between two faults, which are some hundred operations."""

_LASTING = 0.1
"""Seconds that a fault lasts."""

_ENDLESS = "while true do end"


class Injector:
    """Breaks connections and a server repeatedly during a load.

    Attributes:
        injected: number of faults of each kind.
    """

    def __init__(self, server: DurableServer, proxies: Sequence[Proxy], seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self._server = server
        self._proxies = proxies
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._faults: dict[str, tuple[float, Callable[[], Awaitable[object]]]] = {
            "connections cut": (3, self._cut_now),
            "cut after some bytes": (4, self._cut_within),
            "black hole": (2, self._black_hole),
            "delay": (1, lambda: self._for_a_while("delay", 0.01)),
            "byte by byte": (1, lambda: self._for_a_while("slice_bytes", 1)),
            "CLIENT KILL": (2, lambda: self._ask("CLIENT", "KILL", "TYPE", "normal")),
            "CLIENT PAUSE": (1, lambda: self._ask("CLIENT", "PAUSE", "100", "ALL")),
            "SCRIPT FLUSH": (2, lambda: self._ask("SCRIPT", "FLUSH")),
            "out of memory": (1, lambda: self._set_for_a_while("maxmemory", "1", "0")),
            "read-only": (1, self._read_only),
            "busy script": (1, self._busy),
            "kill -9": (1, self._kill),
        }

    async def run(self, faults: int) -> None:
        """Inject a number of faults, and restore normal operation."""
        names = list(self._faults)
        weights = [weight for weight, _ in self._faults.values()]
        first = names.copy()  # inject each fault once before choosing randomly
        self._chance.shuffle(first)
        try:
            for _ in range(faults):
                await self._progress()
                name = first.pop() if first else self._chance.choices(names, weights)[0]
                with suppress(RedisError, OSError):
                    await self._faults[name][1]()
                self.injected[name] += 1
            await self._progress()
        finally:
            for proxy in self._proxies:
                proxy.disarm()

    async def _progress(self) -> None:
        """Wait until each proxy has forwarded some work."""
        for proxy in self._proxies:
            goal = proxy.carried + _BYTES_BETWEEN
            await wait_until(lambda proxy=proxy, goal=goal: proxy.carried >= goal)

    async def _cut_now(self) -> None:
        for proxy in self._proxies:
            proxy.cut_all(self._chance.choice(HOWS))

    async def _cut_within(self) -> None:
        for proxy in self._proxies:
            proxy.arm(Cut(self._chance.choice(SIDES), self._chance.randrange(5000), self._chance.choice(HOWS)))

    async def _black_hole(self) -> None:
        for proxy in self._proxies:
            proxy.close_hole()
        await asyncio.sleep(_LASTING)
        for proxy in self._proxies:
            proxy.open_hole()

    async def _for_a_while(self, attribute: Literal["delay", "slice_bytes"], value: float) -> None:
        for proxy in self._proxies:
            setattr(proxy, attribute, value)
        await asyncio.sleep(_LASTING)
        for proxy in self._proxies:
            setattr(proxy, attribute, 0)

    async def _ask(self, *command: str) -> Any:
        async with admin(self._server.url) as client:
            return await client.execute_command(*command)

    async def _set_for_a_while(self, name: str, value: str, normal: str) -> None:
        await self._ask("CONFIG", "SET", name, value)
        await asyncio.sleep(_LASTING)
        await self._ask("CONFIG", "SET", name, normal)

    async def _read_only(self) -> None:
        await self._ask("REPLICAOF", "127.0.0.1", "1")  # no server listens there, so no data is replaced
        await asyncio.sleep(_LASTING)
        await self._ask("REPLICAOF", "NO", "ONE")

    async def _busy(self) -> None:
        script = asyncio.ensure_future(self._ask("EVAL", _ENDLESS, "0"))
        while not script.done():  # the script may start late
            await asyncio.sleep(_LASTING)
            with suppress(RedisError):
                await self._ask("SCRIPT", "KILL")
        with suppress(RedisError):
            await script

    async def _kill(self) -> None:
        self._server.kill()
        await asyncio.sleep(self._chance.random() * _LASTING)
        await asyncio.to_thread(self._server.start)
