"""The Node app's commands on ioredis. The load runs inside Node, without Python."""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from pathlib import Path

from wnc_store_bench.contenders.session import Contender
from wnc_store_bench.npm import find_node, install
from wnc_store_bench.processes import Worker, started
from wnc_store_bench.server import Target

_FOLDER = "WNC_STORE_BENCH_NODE"
"""Environment variable with the folder of ioredis for all processes of a run."""


def _starter(*, auto_pipelining: bool) -> Callable[[Target], AbstractAsyncContextManager[Worker]]:
    @asynccontextmanager
    async def start(target: Target) -> AsyncGenerator[Worker]:
        node, folder = await asyncio.to_thread(installed)
        options = {"url": target.url, "prefix": target.prefix, "autoPipelining": auto_pipelining}
        async with started([node, str(folder / "node_app.js")], options) as process:
            yield process

    return start


def installed() -> tuple[str, Path]:
    """Install ioredis in a temporary folder of this process, if needed. Return the path of Node and the folder.

    Raises:
        ConfigurationError: Node is missing, or npm failed.
    """
    node, npm = find_node()
    if _FOLDER in os.environ:
        return node, Path(os.environ[_FOLDER])
    folder = Path(tempfile.mkdtemp(prefix="wnc-bench-node-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("package.json", "node_app.js"):
        (folder / name).write_bytes((files("wnc_store_bench") / "node" / name).read_bytes())
    install(npm, folder)
    os.environ[_FOLDER] = str(folder)
    return node, folder


_COMMON = "the Node app's commands on ioredis, with the load inside Node"
IOREDIS = Contender("ioredis", f"{_COMMON}; auto-pipelining off, the default", start=_starter(auto_pipelining=False))
IOREDIS_AUTO = Contender("ioredis-auto", f"{_COMMON}; auto-pipelining on", start=_starter(auto_pipelining=True))
