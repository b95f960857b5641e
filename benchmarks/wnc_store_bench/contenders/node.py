"""The original's steps on ioredis. The load runs inside of Node: nothing of it passes through Python."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from wnc_store import ConfigurationError
from wnc_store_bench.contenders.session import Contender, Opener, Session
from wnc_store_bench.contenders.wire import seed, users
from wnc_store_bench.load import Crowd, Load, Operation, Sample
from wnc_store_bench.npm import find_node, install
from wnc_store_bench.server import Place

_GRACE = 30
"""Seconds that a task may take longer than it was given."""

_FOLDER = "WNC_STORE_BENCH_NODE"
"""The variable that tells the processes of a run where ioredis is."""


class NodeSession:
    """A contender in a process of Node."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def load(self, operation: Operation, load: Load, seconds: float) -> Sample:
        """See `Session.load`."""
        task = {"task": "load", "operation": operation, "seconds": seconds, **asdict(load)}
        return Sample.model_validate(await self._do(task, seconds))

    async def crowd(self, room_id: str, user_ids: Sequence[str], bound: float) -> Crowd:
        """See `Session.crowd`."""
        task = {"task": "crowd", "room": room_id, "users": list(user_ids), "bound": bound}
        return Crowd.model_validate(await self._do(task, bound))

    async def _do(self, task: Mapping[str, object], seconds: float) -> Any:
        stdin = cast("asyncio.StreamWriter", self._process.stdin)
        stdin.write(f"{json.dumps(task)}\n".encode())
        async with asyncio.timeout(seconds + _GRACE):
            line = await cast("asyncio.StreamReader", self._process.stdout).readline()
        if not line:
            message = "Node has ended in the middle of a task; it may have said why on stderr"
            raise ConfigurationError(message)
        return json.loads(line)


def _opener(*, auto_pipelining: bool) -> Opener:
    @asynccontextmanager
    async def opened(place: Place) -> AsyncGenerator[Session]:
        node, folder = await asyncio.to_thread(installed)
        process = await asyncio.create_subprocess_exec(
            node,
            str(folder / "original.js"),
            json.dumps({"prefix": place.prefix, "autoPipelining": auto_pipelining}),
            env={**os.environ, "REDIS_URL": place.url},  # not an argument: it may hold a password
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,  # bytes of a line
        )
        try:
            yield NodeSession(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # it holds nothing but connections
            await process.wait()

    return opened


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
    "ioredis", f"{_COMMON}; auto-pipelining off, the default", _opener(auto_pipelining=False), seed, users
)
IOREDIS_AUTO = Contender("ioredis-auto", f"{_COMMON}; auto-pipelining on", _opener(auto_pipelining=True), seed, users)
