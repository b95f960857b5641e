"""A worker process, which prepares one job and then runs its tasks.

stdin:  a JSON line {"job": ..., and its options}, then a JSON line for each task.
stdout: the JSON line null when the process is ready, then a JSON line with the result of each task.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

from wnc_store_bench.ablations import serve_variant
from wnc_store_bench.contenders import serve_contender
from wnc_store_bench.contenders.session import Exchange
from wnc_store_bench.listing import pass_over_index
from wnc_store_bench.many_rooms import compare_sizes, expire_at_once
from wnc_store_bench.memory import serve_in_memory

Job = Callable[[Mapping[str, Any], Exchange], Awaitable[object]]

JOBS: dict[str, Job] = {
    "contender": serve_contender,
    "expiry": expire_at_once,
    "listing": pass_over_index,
    "many_rooms": compare_sizes,
    "memory": serve_in_memory,
    "variant": serve_variant,
}


async def _work(options: Mapping[str, Any]) -> None:
    _send(await JOBS[options["job"]](options, _exchange))


async def _exchange(answer: object) -> Any:
    _send(answer)
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


def _send(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def main() -> None:
    """Run the job that stdin names."""
    options = json.loads(sys.stdin.readline())
    factory: Any = import_module("uvloop").new_event_loop if options.get("uvloop") else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_work(options))


if __name__ == "__main__":
    main()
