"""A process that prepares one job, says so, waits for the word, does it and prints the result.

stdin:  a JSON line {"job": ..., and its options}, then a line that gives the word.
stdout: the JSON line null when it is prepared, then a JSON line with the result.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

from wnc_store_bench.ablations import load_variant
from wnc_store_bench.crowds import join_from_a_process
from wnc_store_bench.listing import pass_over_index
from wnc_store_bench.many_rooms import compare_sizes, expire_at_once

Job = Callable[[Mapping[str, Any], Callable[[], Awaitable[None]]], Awaitable[object]]

JOBS: dict[str, Job] = {
    "crowd": join_from_a_process,
    "expiry": expire_at_once,
    "listing": pass_over_index,
    "many_rooms": compare_sizes,
    "variant": load_variant,
}


async def _work(options: Mapping[str, Any]) -> None:
    _say(await JOBS[options["job"]](options, _ready))


async def _ready() -> None:
    _say(None)
    await asyncio.to_thread(sys.stdin.readline)


def _say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


def main() -> None:
    """Do the job that stdin names."""
    options = json.loads(sys.stdin.readline())
    factory: Any = import_module("uvloop").new_event_loop if options.get("uvloop") else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_work(options))


if __name__ == "__main__":
    main()
