"""The recipe for WebSockets, with the answering process in each handshake: `uvicorn named_workers:app --workers 2`."""

from __future__ import annotations

import importlib
import os
from typing import Any

_recipe: Any = importlib.import_module("websocket_app").app


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Handle one ASGI scope. The response of a handshake has the header `X-Process`."""

    async def send_with_process(message: Any) -> None:
        if message["type"] == "websocket.accept":
            message = {**message, "headers": [*message.get("headers", ()), (b"x-process", b"%d" % os.getpid())]}
        await send(message)

    await _recipe(scope, receive, send_with_process)
