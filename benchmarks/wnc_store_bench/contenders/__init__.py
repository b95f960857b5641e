"""The contenders, each with its own data and under the same load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wnc_store_bench.contenders.libraries import AIOCACHE, CASHEWS, KEY_VALUE
from wnc_store_bench.contenders.node import IOREDIS, IOREDIS_AUTO
from wnc_store_bench.contenders.redis_py import LOCK, REDIS_PY, WATCH
from wnc_store_bench.contenders.session import Contender, Exchange, Session, serve
from wnc_store_bench.contenders.wnc import WNC
from wnc_store_bench.server import Target

CONTENDERS = {
    contender.name: contender
    for contender in (WNC, REDIS_PY, WATCH, LOCK, IOREDIS, IOREDIS_AUTO, KEY_VALUE, AIOCACHE, CASHEWS)
}


async def serve_contender(options: Mapping[str, Any], exchange: Exchange) -> None:
    """Run the process of a contender in Python."""
    name = options["contender"]
    connect = CONTENDERS[name].connect
    if connect is None:
        message = f"{name} does not run in Python"
        raise ValueError(message)
    async with connect(Target(**options["target"])) as client:
        await serve(client, exchange)


__all__ = [
    "CONTENDERS",
    "IOREDIS",
    "IOREDIS_AUTO",
    "LOCK",
    "REDIS_PY",
    "WATCH",
    "WNC",
    "Contender",
    "Session",
    "serve_contender",
]
