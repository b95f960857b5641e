"""A way to a server on which connections can be cut and frozen."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards connections to a port of 127.0.0.1.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self._loses_next = False
        self._freezes_later_ones = False
        self.lost = 0
        self.swallowed = 0

    @property
    def url(self) -> str:
        """The URL that leads through here to database 0."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def freeze(self, *, later_ones: bool = False) -> None:
        """Forward nothing more on the connections that there are; later ones work, unless they are meant too."""
        self._frozen |= self._writers
        self._freezes_later_ones = later_ones

    def lose_next_answer(self) -> None:
        """Close the connection on which the server next says something, without forwarding it."""
        self._loses_next = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, there_writer}
        if self._freezes_later_ones:
            self._frozen |= {writer, there_writer}
        with suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._forward(reader, there_writer, writer),
                self._forward(there_reader, writer, there_writer, answers=True),
            )

    async def _forward(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        *,
        answers: bool = False,
    ) -> None:
        try:
            while data := await source.read(65536):
                if answers and self._loses_next:
                    self._loses_next = False
                    self.lost += 1
                    break
                if target in self._frozen:
                    self.swallowed += len(data)
                    continue
                target.write(data)
                await target.drain()
        finally:
            if target not in self._frozen:
                target.transport.abort()
                back.transport.abort()
