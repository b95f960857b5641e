"""TCP servers and connections that leave no task and no connection behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def closing_streams(streams: _Streams) -> AsyncGenerator[_Streams]:
    """Close a connection at the end, after its buffered data was sent or, if the body raises, at once."""
    _, writer = streams
    try:
        yield streams
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    finally:
        writer.transport.abort()


@asynccontextmanager
async def tcp_server(handle: _Handler) -> AsyncGenerator[int]:
    """Run a server on a free port, and yield the port. A connection ends when its handler returns.

    At the end, the handlers are cancelled and every connection is closed. `asyncio.start_server` cannot guarantee that:
    a connection that is accepted while the server is closed stays open, and nobody waits for the handlers.
    """
    handlers: set[asyncio.Task[None]] = set()

    async def serve(accepted: socket.socket) -> None:
        with suppress(OSError):  # the client is gone
            async with closing_streams(await asyncio.open_connection(sock=accepted)) as (reader, writer):
                await handle(reader, writer)

    def accept() -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):  # the client is gone
            accepted, _ = listener.accept()
            handler = asyncio.ensure_future(serve(accepted))
            handlers.add(handler)
            handler.add_done_callback(handlers.discard)
            handler.add_done_callback(lambda _: accepted.close())  # a task cancelled before its first step runs no code

    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        loop.add_reader(listener, accept)
        try:
            yield listener.getsockname()[1]
        finally:
            loop.remove_reader(listener)
            for handler in handlers:
                handler.cancel()
            await asyncio.gather(*handlers, return_exceptions=True)
