"""The recipe for WebSockets, on real servers, in memory and on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from chaos.server import emptied
from party_server import two_workers
from redis_server import RedisServer
from serving import Load, http_client, serving
from waiting import SECONDS
from wnc_store import StoreUnavailableError

_LONG, _SHORT = "600", "0.3"
"""Grace periods in seconds: longer than any test, and one after which each room is read every 0.1 s."""


class _Page:
    """An open page of a user."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def process(self) -> int:
        """The process that answered, if the app names it."""
        assert self._socket.response is not None
        return int(self._socket.response.headers["X-Process"])

    async def close(self) -> None:
        """Close the page."""
        await self._socket.close()

    async def send(self, kind: str, **fields: object) -> None:
        """Send a message."""
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def receive(self, kind: str | None) -> dict[str, Any]:
        """Return the next message of this kind or of any, and discard the messages before it."""
        async with asyncio.timeout(SECONDS):
            while True:
                message = json.loads(await self._socket.recv())
                if kind in {None, message["type"]}:
                    return message

    async def refused(self, kind: str, **fields: object) -> str:
        """Send a message, and return the reason why it is refused."""
        await self.send(kind, **fields)
        return (await self.receive("refused"))["reason"]

    async def closed(self) -> tuple[int | None, str | None]:
        """Return the code and the reason with which the server closes the WebSocket."""
        async with asyncio.timeout(SECONDS):
            await self._socket.wait_closed()
        return self._socket.close_code, self._socket.close_reason


def _hello(name: str, password: str = "") -> dict[str, str]:
    return {"key": name * 16, "name": name, "password": password}


@asynccontextmanager
async def _socket(server: str, room: str) -> AsyncGenerator[ClientConnection]:
    address = f"ws://{server}/rooms/{room}"
    async with connect(address, open_timeout=SECONDS, ping_interval=None, proxy=None) as socket:
        yield socket


@asynccontextmanager
async def _page(
    server: str, room: str, name: str, password: str = "", *, shown: str | None = None
) -> AsyncGenerator[_Page]:
    """Open a page, and yield it after it has sent its first message. The name determines the key."""
    async with _socket(server, room) as socket:
        await socket.send(json.dumps({**_hello(name, password), "name": shown or name}))
        yield _Page(socket)


async def _create_room(server: str, host: str = "Ada") -> str:
    async with http_client() as client:
        created = await client.post(f"http://{server}/rooms", json=_hello(host))
    assert created.status_code == 201
    return created.json()["room"]


@pytest.fixture
def recipe(url: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the recipe, on a store in memory or on Redis."""
    assert url
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", _LONG)
    return load("websocket_app")


in_memory = pytest.mark.parametrize("url", ["memory"], indirect=True)


def _user_id(recipe: Any, name: str) -> str:
    return recipe.Hello.model_validate(_hello(name)).user().id


async def _other_worker(server: str, room: str, name: str, process: int, pages: AsyncExitStack) -> _Page:
    """Open pages until another process answers, and return the last page."""
    async with asyncio.timeout(SECONDS):
        while True:
            page = await pages.enter_async_context(_page(server, room, name))
            if page.process != process:
                return page
            await page.close()


async def test_two_workers(redis_server: RedisServer, load: Load) -> None:
    """Two workers on one port and one Redis: messages and actions of a page reach the page on the other worker."""
    url, recipe = redis_server.url.replace("/0", "/8"), load("websocket_app")
    folders = "examples/recipes", "tests/helpers"
    async with emptied(url), AsyncExitStack() as pages:
        with two_workers(url, "named_workers:app", folders, WNC_STORE_CONNECTION_TTL=_LONG) as workers:
            room = await _create_room(workers.host)
            ada = await pages.enter_async_context(_page(workers.host, room, "Ada"))
            grace = await _other_worker(workers.host, room, "Grace", ada.process, pages)
            assert workers.pid not in {ada.process, grace.process}
            assert [user["name"] for user in (await grace.receive("room"))["room"]["users"]] == ["Ada", "Grace"]
            for sender, message_id in ((ada, "m1"), (grace, "m2")):
                await sender.send("say", id=message_id, text="hello")
                await sender.send("typing")
                for receiver in (ada, grace):
                    assert (await receiver.receive("messageAdded"))["message"]["id"] == message_id
                    assert (await receiver.receive("appEvent"))["name"] == "typing"
            back = await _other_worker(workers.host, room, "Ada", ada.process, pages)  # the page is reloaded
            assert [message["id"] for message in (await back.receive("room"))["messages"]] == ["m1", "m2"]
            await back.send("kick", user=_user_id(recipe, "Grace"))
            for page in (ada, grace):
                assert (await page.receive("userLeft"))["user"]["name"] == "Grace"
            assert await grace.refused("say", id="m3", text="hello?") == "You are no longer in the room."
            await pages.aclose()


async def test_a_party(recipe: Any) -> None:
    """Guests receive joins and messages. A user who leaves is removed at once."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada:
            first = await ada.receive("room")
            assert [(user["name"], user["isHost"]) for user in first["room"]["users"]] == [("Ada", True)]
            async with _page(server, room, "Grace") as grace:
                assert (await ada.receive("userJoined"))["user"]["name"] == "Grace"
                await grace.send("say", id="m1", text="hello \ud83d")
                message = (await ada.receive("messageAdded"))["message"]
                assert (message["userName"], message["message"]) == ("Grace", "hello \ud83d")
                await ada.send("remove", id="m1")
                assert (await grace.receive("messageRemoved"))["messageId"] == "m1"
                await grace.send("leave")
                assert (await grace.closed())[0] == 1000
            assert (await ada.receive("userLeft"))["user"]["name"] == "Grace"


async def test_the_user_of_a_page(recipe: Any) -> None:
    """The first message that a page receives names its user, as the room does."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Grace") as grace:
            you, first = await grace.receive(None), await grace.receive(None)
            assert you == {"type": "you", "userId": first["room"]["users"][1]["id"]}
            assert first["room"]["users"][1]["name"] == "Grace"


async def test_two_pages_of_a_user(recipe: Any) -> None:
    """Two pages with the same key are one user with the first name. The user leaves with the last page."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada, _page(server, room, "Grace") as first:
            await first.receive("room")
            async with _page(server, room, "Grace", shown="Hopper") as second:
                assert [user["name"] for user in (await second.receive("room"))["room"]["users"]] == ["Ada", "Grace"]
                await second.send("leave")
                assert (await second.closed())[0] == 1000
            await first.send("say", id="m1", text="hello")
            assert (await first.receive("messageAdded"))["message"]["userName"] == "Grace"
            await first.send("leave")
            await ada.receive("userLeft")


async def test_two_users_with_one_name(recipe: Any) -> None:
    """Two users with the same name are different users, and a kick removes only one of them."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada, _page(server, room, "Grace", shown="Ada") as grace:
            await grace.receive("room")
            await ada.send("kick", user=_user_id(recipe, "Grace"))
            assert (await ada.receive("userLeft"))["user"]["id"] == _user_id(recipe, "Grace")
            await ada.send("say", id="m1", text="hello")
            await ada.receive("messageAdded")


@in_memory
async def test_a_code_as_guests_type_it(recipe: Any) -> None:
    """A code in small letters with spaces around it names the room."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, f"%20{room.lower()}%20", "Grace") as grace:
            assert (await grace.receive("room"))["room"]["id"] == room


@in_memory
async def test_a_room_waits_for_its_host(recipe: Any) -> None:
    """A host who has created a room may connect later than the grace period."""
    async with serving(recipe.app) as server:
        room, presence = await _create_room(server), recipe.app.state.presence
        for _ in range(3):
            await presence._sweeper.sweep()
        async with _page(server, room, "Ada") as ada:
            assert [user["name"] for user in (await ada.receive("room"))["room"]["users"]] == ["Ada"]


async def test_a_kick(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a kicked user is closed, and its user is not added again. A new page joins again."""
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", _SHORT)
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada, _page(server, room, "Grace") as grace:
            await grace.receive("room")
            await ada.send("kick", user=_user_id(recipe, "Grace"))
            assert await grace.closed() == (4001, "You were removed from the room.")
            assert [user.name for user in await recipe.app.state.presence.present(room)] == ["Ada"]
            async with _page(server, room, "Grace") as again:
                await again.receive("room")


async def test_a_ban(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a banned user is closed, and a new page of the user is refused until the ban is lifted."""
    monkeypatch.setenv("WNC_STORE_CONNECTION_TTL", _SHORT)
    async with serving(recipe.app) as server:
        room, user = await _create_room(server), _user_id(recipe, "Grace")
        async with _page(server, room, "Ada") as ada:
            async with _page(server, room, "Grace") as grace:
                await grace.receive("room")
                await ada.send("ban", user=user)
                assert (await grace.closed())[0] == 4001
            async with _page(server, room, "Grace") as grace:
                assert await grace.closed() == (4003, "You are banned from this room.")
            await ada.send("unban", user=user)
            await ada.send("typing")
            await ada.receive("appEvent")  # messages are handled one after the other, so the ban is lifted
            async with _page(server, room, "Grace") as grace:
                await grace.receive("room")


async def test_a_lock_and_a_password(recipe: Any) -> None:
    """A locked room refuses new users. A room with a password refuses users without it. Reloads pass both."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada:
            await ada.receive("room")
            await ada.send("lock", on=True)
            assert (await ada.receive("room"))["room"]["locked"] is True
            async with _page(server, room, "Grace", "secret") as grace:
                assert await grace.closed() == (4003, "This room is locked.")
            await ada.send("lock", on=False)
            await ada.receive("room")
            await ada.send("password", password="secret")
            assert "passwordHash" not in (await ada.receive("room"))["room"]
            for password in ("", "guess"):
                async with _page(server, room, "Grace", password) as grace:
                    assert await grace.closed() == (4003, "Enter the password of this room.")
            async with _page(server, room, "Grace", "secret") as grace:
                assert "passwordHash" not in (await grace.receive("room"))["room"]
            await ada.send("lock", on=True)
            await ada.receive("room")
            async with _page(server, room, "Grace") as grace:
                await grace.receive("room")


async def test_roles(recipe: Any) -> None:
    """A guest may not moderate, a co-host may, and a read-only guest may not write."""
    async with serving(recipe.app) as server:
        room, user = await _create_room(server), _user_id(recipe, "Grace")
        async with _page(server, room, "Ada") as ada, _page(server, room, "Grace") as grace:
            await grace.receive("room")
            for kind, fields in {
                "kick": {"user": _user_id(recipe, "Ada")},
                "lock": {"on": True},
                "password": {"password": "secret"},
                "remove": {"id": "m1"},
            }.items():
                assert await grace.refused(kind, **fields) == "Only a host can do this."
            await ada.send("mute", user=user)
            assert (await grace.receive("room"))["room"]["readOnly"] == [user]
            assert await grace.refused("say", id="m1", text="hello") == "You can only read."
            assert await grace.refused("typing") == "You can only read."
            await ada.send("promote", user=user)
            await grace.receive("room")
            await grace.send("quiet", on=True)
            assert (await grace.receive("room"))["room"]["quiet"] is True
            await grace.send("say", id="m1", text="hello")
            await ada.receive("messageAdded")


@in_memory
async def test_invalid_messages(recipe: Any) -> None:
    """An invalid message is refused, and the page stays in the room."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada:
            await ada.receive("room")
            assert await ada.refused("dance") == "Unknown message."
            assert (await ada.refused("say", id=" m1", text="hello")).startswith("invalid message id")
            assert "at most 10000" in await ada.refused("say", id="m1", text="x" * 20_000)
            assert "not in room" in await ada.refused("promote", user="nobody")
            await ada._socket.send("[" * 100_000)
            await ada.receive("refused")
            await ada._socket.send(b"no JSON")
            await ada.receive("refused")


@in_memory
@pytest.mark.parametrize("first", ["no JSON", b"binary", '{"key": "short", "name": "Ada"}'])
async def test_an_invalid_first_message(recipe: Any, first: str | bytes) -> None:
    """If the first message is not a valid greeting, the WebSocket is closed with code 1008."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _socket(server, room) as socket:
            await socket.send(first)
            assert (await _Page(socket).closed())[0] == 1008


@in_memory
async def test_a_silent_page(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no first message arrives in time, the WebSocket is closed with code 1008."""
    monkeypatch.setattr(recipe, "HELLO_SECONDS", 0)
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _socket(server, room) as socket:
            assert (await _Page(socket).closed())[0] == 1008


@in_memory
async def test_a_page_disconnects_at_once(recipe: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A page that disconnects without a first message causes no error in the log."""
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _socket(server, room):
            pass
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@in_memory
@pytest.mark.parametrize("room", ["NOBODY", "no%20room"])
async def test_a_missing_room(recipe: Any, room: str) -> None:
    """If the room does not exist, the WebSocket is closed with code 4004."""
    async with serving(recipe.app) as server, _page(server, room, "Ada") as ada:
        assert (await ada.closed())[0] == 4004


@in_memory
async def test_limits(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above a limit, a page is refused: connections of a client, users of a room, attempts of passwords, messages."""
    monkeypatch.setenv("WNC_STORE_CONNECTION_LIMIT", "2")
    monkeypatch.setenv("WNC_STORE_MAX_USERS_PER_ROOM", "1")
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_MAX", "40")
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_WINDOW", "3600")  # longer than the test
    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada:
            await ada.receive("room")
            async with _page(server, room, "Grace", "guess") as grace:
                assert await grace.closed() == (4003, "This room is full.")
            async with _page(server, room, "Grace", "guess") as grace:
                assert str((await grace.closed())[1]).startswith("Too many passwords. Try again in ")
            async with _page(server, room, "Ada"), _page(server, room, "Ada") as third:
                assert await third.closed() == (1008, "too many connections")
            for _ in range(41):
                await ada.send("dance")
            while (await ada.receive("refused"))["reason"] == "Unknown message.":
                pass


@in_memory
async def test_the_store_is_unavailable(recipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store is unavailable, pages are closed with code 1013."""

    async def fail(*_: object) -> None:
        raise StoreUnavailableError("no reply from secret-host:6379")

    async with serving(recipe.app) as server:
        room = await _create_room(server)
        async with _page(server, room, "Ada") as ada:
            await ada.receive("room")
            monkeypatch.setattr(recipe.app.state.store.chat, "add_message", fail)
            await ada.send("say", id="m1", text="hello")
            assert (await ada.closed())[0] == 1013
        monkeypatch.setattr(recipe.app.state.store.rooms, "get_room", fail)
        async with _page(server, room, "Ada") as ada:
            assert await ada.closed() == (1013, "Try again later.")
