"""The original's steps on ioredis. The load runs inside of Node: nothing of it passes through Python."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from wnc_store_bench.contenders.session import Contender, Starter
from wnc_store_bench.contenders.wire import seed, users
from wnc_store_bench.npm import find_node, install
from wnc_store_bench.processes import Worker, started
from wnc_store_bench.server import Place

_FOLDER = "WNC_STORE_BENCH_NODE"
"""The variable that tells the processes of a run where ioredis is."""


def _starter(*, auto_pipelining: bool) -> Starter:
    @asynccontextmanager
    async def start(name: str, place: Place) -> AsyncGenerator[Worker]:
        del name
        node, folder = await asyncio.to_thread(installed)
        options = {"url": place.url, "prefix": place.prefix, "autoPipelining": auto_pipelining}
        async with started([node, str(folder / "original.js")], options) as process:
            yield process

    return start


def installed() -> tuple[str, Path]:
    """Install ioredis in a folder that goes away with this process, unless it is; return the program and the folder.

    Raises:
        ConfigurationError: Node is missing, or npm could not install.
    """
    node, npm = find_node()
    if _FOLDER in os.environ:
        return node, Path(os.environ[_FOLDER])
    folder = Path(tempfile.mkdtemp(prefix="wnc-bench-node-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("package.json", "original.js"):
        (folder / name).write_bytes((files("wnc_store_bench") / "node" / name).read_bytes())
    install(npm, folder)
    os.environ[_FOLDER] = str(folder)
    return node, folder


_COMMON = "the original's steps on ioredis, its load inside of Node"
IOREDIS = Contender(
    "ioredis", f"{_COMMON}; auto-pipelining off, the default", seed, users, start=_starter(auto_pipelining=False)
)
IOREDIS_AUTO = Contender(
    "ioredis-auto", f"{_COMMON}; auto-pipelining on", seed, users, start=_starter(auto_pipelining=True)
)
