"""The apps of the examples, and an ASGI app under uvicorn with its lifespan and WebSockets."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from processes import ROOT
from waiting import SECONDS

RECIPES = ROOT / "examples/recipes"
Load = Callable[[str], Any]
"""Type of the fixture `load`, which returns a new module of a recipe."""

_LOCAL = "127.0.0.1"


def load_example(name: str) -> Any:
    """Return a new module `app.py` of an example."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def http_client() -> httpx.AsyncClient:
    """Return a client without a proxy and with a long timeout for slow machines."""
    return httpx.AsyncClient(timeout=SECONDS, trust_env=False)


@asynccontextmanager
async def serving(app: Any) -> AsyncGenerator[str]:
    """Run an app on a free port, and yield its address as host and port."""
    with socket.create_server((_LOCAL, 0)) as listener:
        config = uvicorn.Config(
            app, log_config=None, lifespan="on", ws="websockets-sansio", timeout_graceful_shutdown=SECONDS
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(SECONDS):
                while not (server.started or running.done()):  # noqa: ASYNC110 - uvicorn sets no event when it has started
                    await asyncio.sleep(0.01)
            yield f"{_LOCAL}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            async with asyncio.timeout(SECONDS):
                await running
