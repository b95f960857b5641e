"""Node.js for the tests: its executable, its packages, and the Node app's operations in a separate process."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from wnc_store_bench.npm import find_node, install

_FOLDER = Path(__file__).parent / "node_app"
_STEP_SECONDS = 60


class NodeApp:
    """The Node app's operations on ioredis, in a separate process, one at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def __call__(self, step: str, *args: Any) -> Any:
        """Run an operation and return its value as JSON.

        Raises:
            RuntimeError: the operation failed, or Node has exited.
            TimeoutError: the operation took too long.
        """
        request = json.dumps({"step": step, "args": args})
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                _stdin(self._process).write(f"{request}\n".encode())
                line = await cast("asyncio.StreamReader", self._process.stdout).readline()
        except BaseException:
            with suppress(ProcessLookupError):
                self._process.kill()  # the next call would read the reply of this one
            raise
        answer = json.loads(line) if line else {"error": "Node has exited; stderr may contain the reason"}
        if "error" in answer:
            message = f"{step}: {answer['error']}"
            raise RuntimeError(message)
        return answer["value"]


@asynccontextmanager
async def node_app(url: str) -> AsyncGenerator[NodeApp]:
    """Run the Node app's operations on the Redis server of a URL.

    Raises:
        ConfigurationError: Node is missing, or its packages cannot be installed. The message contains the remedy.
    """
    program = await asyncio.to_thread(_node_with_packages)
    process = await asyncio.create_subprocess_exec(
        program,
        str(_FOLDER / "node_app.js"),
        url,
        env={name: value for name, value in os.environ.items() if not name.startswith("NODE_")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**20,  # bytes in a line
    )
    try:
        yield NodeApp(process)
    finally:
        _stdin(process).close()
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def _stdin(process: asyncio.subprocess.Process) -> asyncio.StreamWriter:
    return cast("asyncio.StreamWriter", process.stdin)


def _node_with_packages() -> str:
    node, npm = find_node()
    with (_FOLDER / "package.json").open() as manifest:
        fcntl.flock(manifest, fcntl.LOCK_EX)  # other processes of the test run install the same packages
        if not _is_installed(json.load(manifest)["dependencies"]):
            install(npm, _FOLDER)
    return node


def _is_installed(wanted: dict[str, str]) -> bool:
    """Return whether npm has installed these exact versions. npm writes its lock file last."""
    try:
        found = json.loads((_FOLDER / "node_modules" / ".package-lock.json").read_text())["packages"]
    except FileNotFoundError:
        return False
    return all(found.get(f"node_modules/{name}", {}).get("version") == version for name, version in wanted.items())
