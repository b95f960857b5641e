"""A page of the watch party without a browser: what it sends and is told over its WebSocket."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from wnc_store import ManualClock

_SECONDS = 100
"""This only ends a hang."""

ReturnT = TypeVar("ReturnT")


class Page:
    """An open page."""

    def __init__(self, socket: ClientConnection, name: str, key: str) -> None:
        self._socket = socket
        self.name = name
        self.key = key
        self.code = ""
        self.state: dict[str, Any] = {}

    async def send(self, kind: str, **fields: object) -> None:
        """Send a message."""
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def told(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these kinds; what comes before it is dropped."""
        async with asyncio.timeout(_SECONDS):
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "state":
                    self.state, self.code = message, message["room"]["id"]
                if message["type"] in kinds:
                    return message

    async def all_until(self, kind: str) -> list[dict[str, Any]]:
        """Return all messages up to the next of a kind."""
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(_SECONDS):
            while not messages or messages[-1]["type"] != kind:
                messages.append(json.loads(await self._socket.recv()))
        return messages

    async def say(self, text: str, message_id: str | None = None) -> str:
        """Say something, and return its id when the server has it."""
        message_id = message_id or secrets.token_hex(16)
        await self.send("say", id=message_id, text=text)
        await self.told("said")
        return message_id

    async def closed(self) -> int:
        """Return the code with which the server closes the socket."""
        async with asyncio.timeout(_SECONDS):
            await self._socket.wait_closed()
        assert self._socket.close_code is not None
        return self._socket.close_code

    async def vanish(self) -> None:
        """Close the socket without a word, as a page does that is reloaded or closed."""
        await self._socket.close()

    async def enter(self, code: str | None) -> Self:
        """Say hello: to a room, or to a new one."""
        await self.send("create" if code is None else "join", name=self.name, key=self.key, room=code or "")
        return self


class Party:
    """Opens pages of a server, and closes them in the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sockets: list[ClientConnection] = []

    async def open(self, name: str, key: str | None = None) -> Page:
        """Return a page that has said nothing yet."""
        socket = await connect(f"ws://{self.address}/party", open_timeout=_SECONDS, ping_interval=None, proxy=None)
        self._sockets.append(socket)
        return Page(socket, name, key or secrets.token_hex(16))

    async def host(self, name: str = "Ada") -> Page:
        """Return a page that has created a room."""
        page = await (await self.open(name)).enter(None)
        await page.told("state")
        return page

    async def guest(self, code: str, name: str, key: str | None = None) -> Page:
        """Return a page that has come into a room."""
        page = await (await self.open(name, key)).enter(code)
        await page.told("state")
        return page

    async def refused(self, code: str, name: str, key: str | None = None) -> str:
        """Return the reason for which a page is not let in."""
        page = await (await self.open(name, key)).enter(code)
        return (await page.told("end"))["reason"]

    async def aclose(self) -> None:
        """Close all pages."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))


@asynccontextmanager
async def visiting(address: str) -> AsyncGenerator[Party]:
    """Yield a party at an address, and close its pages in the end."""
    party = Party(address)
    try:
        yield party
    finally:
        await party.aclose()


async def while_time_passes(clock: ManualClock, waiting: Coroutine[Any, Any, ReturnT]) -> ReturnT:
    """Return what is waited for, while the server's clock goes on."""
    task = asyncio.create_task(waiting)
    while not task.done():
        clock.advance(0.1)
        await asyncio.sleep(0.01)
    return await task


def names(page: Page) -> list[tuple[str, bool]]:
    """Return who is in the room, and who is host, as the page was told last."""
    return [(user["name"], user["isHost"]) for user in page.state["room"]["users"]]
