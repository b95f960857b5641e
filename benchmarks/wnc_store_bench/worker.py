"""A worker process, which prepares one job and then runs its tasks.

stdin:  a JSON line {"job": ..., and its options}, then a JSON line for each task.
stdout: the JSON line null when the process is ready, then a JSON line with the result of each task.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from wnc_store_bench.ablations import VARIANTS
from wnc_store_bench.backends import serve_backend
from wnc_store_bench.contenders import CONTENDERS
from wnc_store_bench.contenders.session import Exchange, serve
from wnc_store_bench.counts import serve_counts
from wnc_store_bench.memory import serve_memory
from wnc_store_bench.server import Target


async def _serve_contender(options: Mapping[str, Any], exchange: Exchange) -> None:
    connect = {**CONTENDERS, **VARIANTS}[options["name"]].connect
    assert connect is not None  # noqa: S101 - contenders outside Python start other processes
    async with connect(Target(**options["target"])) as client:
        await serve(client, exchange)


JOBS: dict[str, Callable[[Mapping[str, Any], Exchange], Coroutine[Any, Any, None]]] = {
    "backend": serve_backend,
    "contender": _serve_contender,
    "counts": serve_counts,
    "memory": serve_memory,
}


async def _exchange(answer: object) -> Any:
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


def main() -> None:
    """Run the job that stdin names."""
    options = json.loads(sys.stdin.readline())
    asyncio.run(JOBS[options["job"]](options, _exchange))


if __name__ == "__main__":
    main()
