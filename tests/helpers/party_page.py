"""A WebSocket client of the watch party, which replaces the page in a browser."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect

from waiting import SECONDS
from wnc_store import ManualClock

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

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """Return the next message of one of these kinds, and discard the messages before it."""
        async with asyncio.timeout(SECONDS):
            while True:
                message = json.loads(await self._socket.recv())
                if message["type"] == "state":
                    self.state, self.code = message, message["room"]["id"]
                if message["type"] in kinds:
                    return message

    async def receive_until(self, kind: str) -> list[dict[str, Any]]:
        """Return all messages up to the next message of a kind."""
        messages: list[dict[str, Any]] = []
        async with asyncio.timeout(SECONDS):
            while not messages or messages[-1]["type"] != kind:
                messages.append(json.loads(await self._socket.recv()))
        return messages

    async def say(self, text: str, message_id: str | None = None) -> str:
        """Send a chat message, wait until the server confirms it, and return its id."""
        message_id = message_id or secrets.token_hex(16)
        await self.send("say", id=message_id, text=text)
        await self.receive("stored")
        return message_id

    async def closed(self) -> int:
        """Return the code with which the server closes the socket."""
        async with asyncio.timeout(SECONDS):
            await self._socket.wait_closed()
        assert self._socket.close_code is not None
        return self._socket.close_code

    async def disconnect(self) -> None:
        """Close the socket without leaving the room, as a page does that is reloaded or closed."""
        await self._socket.close()

    async def send_hello(self, code: str | None) -> Self:
        """Send the first message, which joins a room or creates one."""
        await self.send("create" if code is None else "join", name=self.name, key=self.key, room=code or "")
        return self


class Party:
    """Opens pages of a server and closes them at the end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sockets: list[ClientConnection] = []

    async def open(self, name: str, key: str | None = None) -> Page:
        """Return a page that has sent nothing."""
        socket = await connect(f"ws://{self.address}/party", open_timeout=SECONDS, ping_interval=None, proxy=None)
        self._sockets.append(socket)
        return Page(socket, name, key or secrets.token_hex(16))

    async def host(self, name: str = "Ada") -> Page:
        """Return a page that has created a room."""
        page = await (await self.open(name)).send_hello(None)
        await page.receive("state")
        return page

    async def guest(self, code: str, name: str, key: str | None = None) -> Page:
        """Return a page that has joined a room."""
        page = await (await self.open(name, key)).send_hello(code)
        await page.receive("state")
        return page

    async def join_rejected(self, code: str, name: str, key: str | None = None) -> str:
        """Return the reason why a page may not join a room."""
        page = await (await self.open(name, key)).send_hello(code)
        return (await page.receive("end"))["reason"]

    async def aclose(self) -> None:
        """Close all pages."""
        await asyncio.gather(*(socket.close() for socket in self._sockets))


@asynccontextmanager
async def visiting(address: str) -> AsyncGenerator[Party]:
    """Yield a party at an address, and close its pages at the end."""
    party = Party(address)
    try:
        yield party
    finally:
        await party.aclose()


async def while_clock_advances(clock: ManualClock, waiting: Coroutine[Any, Any, ReturnT]) -> ReturnT:
    """Await a coroutine while the server's clock advances, and return its result."""
    task = asyncio.create_task(waiting)
    while not task.done():
        clock.advance(0.1)
        await asyncio.sleep(0.01)
    return await task


def names(page: Page) -> list[tuple[str, bool]]:
    """Return the name and the host flag of each user in the page's last state."""
    return [(user["name"], user["isHost"]) for user in page.state["room"]["users"]]
