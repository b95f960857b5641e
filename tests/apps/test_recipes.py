"""The recipes for dependency injection, under a real server, in memory and on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import socketio  # pyright: ignore[reportMissingTypeStubs] - it is not typed
from socketio.exceptions import ConnectionError as SocketIOError  # pyright: ignore[reportMissingTypeStubs]
from websockets.asyncio.client import ClientConnection, connect

from redis_server import RedisServer
from serving import RECIPES, Load, http_client, serving
from waiting import SECONDS, wait_until
from wnc_store import get_store, open_store
from wnc_store_memory import MemoryStore

_HTTP = ["dishka_app", "fastapi_app", "litestar_app", "starlette_app"]


def test_each_recipe_is_tested() -> None:
    """Each recipe has a test in this file, in `test_moderation.py` or in `test_websocket_app.py`."""
    tested = {*_HTTP, "presence_app", "socketio_app", "plain_asyncio", "moderation", "websocket_app"}
    assert {path.stem for path in RECIPES.glob("*.py")} == tested


@pytest.mark.parametrize("name", _HTTP)
async def test_a_party_over_http(name: str, url: str, load: Load) -> None:
    """A room that is created and joined over HTTP is in the store that WNC_STORE_URL names."""
    async with serving(load(name).app) as server, http_client() as guest:
        created = await guest.post(f"http://{server}/rooms/A3X9K2", params={"host": "Ada"})
        assert created.status_code == 201
        assert "hostToken" not in created.text
        joined = await guest.post(f"http://{server}/rooms/A3X9K2/users", params={"name": "Grace"})
        assert joined.status_code == 201
        assert [user["name"] for user in joined.json()["users"]] == ["Ada", "Grace"]
        if url != "memory://":
            async with open_store(url) as store:
                room = await store.rooms.get_room("A3X9K2")
                assert room is not None
                assert room.to_public().to_json() == joined.json()


@pytest.mark.parametrize("name", ["fastapi_app", "starlette_app"])
async def test_a_room_is_followed(name: str, url: str, load: Load) -> None:
    """A guest receives the room and the next join over a WebSocket, and leaves no lease and no running endpoint."""
    assert url
    async with serving(load(name).app) as server, http_client() as client:
        await client.post(f"http://{server}/rooms/A3X9K2", params={"host": "Ada"})
        endpoint = f"ws://{server}/rooms/A3X9K2/events"
        async with connect(endpoint, proxy=None) as leaving, connect(endpoint, proxy=None) as guest:
            assert json.loads(await leaving.recv())["type"] == json.loads(await guest.recv())["type"] == "room"
            await leaving.close()
            await client.post(f"http://{server}/rooms/A3X9K2/users", params={"name": "Grace"})
            assert json.loads(await guest.recv())["user"]["name"] == "Grace"
            if url != "memory://":
                async with open_store(url) as store:

                    async def is_released() -> bool:
                        return await store.connections.count("127.0.0.1") == 1

                    await wait_until(is_released)


def _hello(name: str) -> dict[str, str]:
    return {"key": name * 16, "name": name}


@asynccontextmanager
async def _page(address: str, name: str) -> AsyncGenerator[ClientConnection]:
    """Open a page of the recipe with presence, and send its greeting."""
    async with connect(address, proxy=None) as page:
        await page.send(json.dumps(_hello(name)))
        yield page


async def _create_room(client: httpx.AsyncClient, server: str) -> tuple[str, str]:
    """Create a room, and return its code and the host token."""
    created = (await client.post(f"http://{server}/rooms", json=_hello("Ada"))).json()
    return created["room"], created["hostToken"]


async def test_a_page_is_reloaded(url: str, load: Load) -> None:
    """The only user of a room reloads the page, and finds the room unchanged."""
    assert url
    async with serving(load("presence_app").app) as server, http_client() as client:
        code, _ = await _create_room(client, server)
        rooms: list[Any] = []
        for _ in range(2):
            async with _page(f"ws://{server}/rooms/{code}", "Ada") as ada:
                rooms.append(json.loads(await ada.recv())["room"])
        assert rooms[0] == rooms[1]
        assert [(user["name"], user["isHost"]) for user in rooms[1]["users"]] == [("Ada", True)]


async def test_a_user_does_not_return(url: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user leaves the room when the page has been closed for the grace period."""
    assert url
    recipe = load("presence_app")
    monkeypatch.setattr(recipe, "GRACE", timedelta(seconds=0.1))
    async with serving(recipe.app) as server, http_client() as client:
        code, _ = await _create_room(client, server)
        async with _page(f"ws://{server}/rooms/{code}", "Ada") as ada:
            await ada.recv()
            async with _page(f"ws://{server}/rooms/{code}", "Grace") as grace:
                await grace.recv()
            while json.loads(await ada.recv())["type"] != "userLeft":
                pass


async def test_a_user_is_kicked(url: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host kicks a user: the page of the user is closed, and the user is not added again."""
    assert url
    recipe = load("presence_app")
    monkeypatch.setattr(recipe, "GRACE", timedelta(seconds=0.1))
    async with serving(recipe.app) as server, http_client() as client:
        code, token = await _create_room(client, server)
        address = f"ws://{server}/rooms/{code}"
        async with _page(address, "Ada") as ada, _page(address, "Grace") as grace:
            await ada.recv()
            user = json.loads(await grace.recv())["room"]["users"][1]["id"]
            for guess in ("wrong", token):
                await client.post(f"http://{server}/rooms/{code}/kick/{user}", headers={"Host-Token": guess})
            await grace.wait_closed()
            assert grace.close_code == 4001
            assert [one.name for one in await recipe.app.state.presence.present(code)] == ["Ada"]


@pytest.mark.parametrize(("room", "greeting", "code"), [("B", _hello("Ada"), 4004), ("B", {"key": "short"}, 1008)])
async def test_a_page_is_refused(
    room: str, greeting: dict[str, str], code: int, monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    """The recipe with presence closes the page of a missing room, and one with an invalid greeting."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    async with serving(load("presence_app").app) as server:
        async with connect(f"ws://{server}/rooms/{room}", proxy=None) as page:
            await page.send(json.dumps(greeting))
            await page.wait_closed()
        assert page.close_code == code


@pytest.mark.parametrize("name", _HTTP)
async def test_no_such_room_over_http(name: str, monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """Joining a missing room returns a 404 with the store's error message."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    async with serving(load(name).app) as server, http_client() as guest:
        answer = await guest.post(f"http://{server}/rooms/B/users", params={"name": "Grace"})
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("room 'B' not found")


@pytest.mark.parametrize("url", ["redis"], indirect=True)
@pytest.mark.parametrize("name", _HTTP)
async def test_half_an_emoji_over_http(name: str, url: str, load: Load) -> None:
    """Joining a room whose host has half an emoji in the name, cut by JavaScript, returns the name unchanged."""
    async with serving(load(name).app) as server, http_client() as guest:
        await guest.post(f"http://{server}/rooms/A3X9K2", params={"host": "Ada"})
        async with open_store(url) as store:
            await store.rooms.edit_room("A3X9K2", lambda room: room.replace(host_name="Ada \ud83d"))
        joined = await guest.post(f"http://{server}/rooms/A3X9K2/users", params={"name": "Grace"})
        assert joined.status_code == 201
        assert joined.json()["hostName"] == "Ada \ud83d"


@pytest.mark.parametrize("name", _HTTP)
async def test_an_invalid_id_over_http(name: str, monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """An invalid user id returns a 422 with the store's error message."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    async with serving(load(name).app) as server, http_client() as guest:
        answer = await guest.post(f"http://{server}/rooms/A", params={"host": " Ada"})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("invalid user id ' Ada'")


@pytest.mark.parametrize("name", ["fastapi_app", "litestar_app", "starlette_app"])
async def test_a_shared_store_is_closed_with_its_app(
    name: str, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, load: Load
) -> None:
    """get_store returns the store that the app opens when it starts and closes when it stops."""
    monkeypatch.setenv("WNC_STORE_URL", redis_server.url)
    async with serving(load(name).app):
        store = await get_store()
        await store.ping()
        assert not store.closed
    assert store.closed


@pytest.mark.parametrize("name", ["dishka_app", "socketio_app"])
async def test_a_store_is_closed_with_its_app(
    name: str, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, load: Load
) -> None:
    """The app opens one store when it starts and closes it when it stops."""
    monkeypatch.setenv("WNC_STORE_URL", redis_server.url)
    recipe = load(name)
    opened: list[Any] = []

    def recording_open_store(**options: Any) -> Any:
        opened.append(open_store(**options))
        return opened[-1]

    monkeypatch.setattr(recipe, "open_store", recording_open_store)
    async with serving(recipe.app):
        (store,) = opened
        assert not store.closed
    assert store.closed


class _Guest:
    """A Socket.IO client that records the events it receives."""

    def __init__(self, key: str) -> None:
        self._client: Any = socketio.AsyncClient(request_timeout=SECONDS)
        self._key = key * 32
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self._client.on("event", self.events.put)

    async def enter(self, server: str) -> None:
        """Connect."""
        auth = {"key": self._key}
        url = f"http://{server}"
        await self._client.connect(url, auth=auth, transports=["websocket"], wait_timeout=SECONDS)

    async def call(self, event: str, *args: str) -> Any:
        """Send an event and return its answer."""
        return await self._client.call(event, args, timeout=SECONDS)

    async def next(self) -> Any:
        """Return the next event."""
        async with asyncio.timeout(SECONDS):
            return await self.events.get()

    async def leave(self) -> None:
        """Disconnect."""
        await self._client.disconnect()


async def test_a_party_over_socketio(url: str, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests receive joins and messages. The next guest becomes host when the host does not return in the grace."""
    assert url
    recipe = load("socketio_app")
    monkeypatch.setattr(recipe, "GRACE", timedelta(seconds=0.1))
    ada, grace = _Guest("a"), _Guest("g")
    async with serving(recipe.app) as server:
        await ada.enter(server)
        await grace.enter(server)
        created = await ada.call("create_room", "A3X9K2", "Ada")
        assert "hostToken" not in created
        joined = await grace.call("join", "A3X9K2", "Grace")
        assert [user["name"] for user in joined["users"]] == ["Ada", "Grace"]
        assert (await ada.next())["user"]["name"] == "Grace"
        said = await grace.call("say", "hello")
        for guest in (ada, grace):
            message = (await guest.next())["message"]
            assert (message["id"], message["userName"], message["message"]) == (said["id"], "Grace", "hello")
        await ada.leave()
        assert (await grace.next())["type"] == "userLeft"
        assert (await grace.next())["hostName"] == "Grace"
        await grace.leave()


async def test_a_reload_over_socketio(url: str, load: Load) -> None:
    """A host who reconnects with the same key stays the host, and the other guests receive no event."""
    assert url
    ada, back, grace = _Guest("a"), _Guest("a"), _Guest("g")
    async with serving(load("socketio_app").app) as server:
        for guest in (ada, grace, back):
            await guest.enter(server)
        await ada.call("create_room", "A3X9K2", "Ada")
        before = await grace.call("join", "A3X9K2", "Grace")
        await ada.leave()
        assert await back.call("join", "A3X9K2", "Ada") == before
        said = await grace.call("say", "hello")
        assert (await grace.next())["message"]["id"] == said["id"]
        assert await back.call("leave")
        assert [(await grace.next())["type"] for _ in range(2)] == ["userLeft", "hostChanged"]
        await back.leave()
        await grace.leave()


async def test_half_an_emoji_over_socketio(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """A name and a message with half an emoji, cut by JavaScript, are accepted and sent to the other guests."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    ada, grace = _Guest("a"), _Guest("g")
    async with serving(load("socketio_app").app) as server:
        await ada.enter(server)
        await grace.enter(server)
        await ada.call("create_room", "A3X9K2", "Ada \ud83d")
        joined = await grace.call("join", "A3X9K2", "Grace \ud83d")
        assert [user["name"] for user in joined["users"]] == ["Ada \ud83d", "Grace \ud83d"]
        assert (await ada.next())["user"]["name"] == "Grace \ud83d"
        await grace.call("say", "cut \ud83d")
        assert (await ada.next())["message"]["message"] == "cut \ud83d"
        await ada.leave()
        await grace.leave()


async def test_errors_over_socketio(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """A store's error is returned to the sender, only users of a room can send messages, and a short key is refused."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    guest = _Guest("g")
    async with serving(load("socketio_app").app) as server:
        await guest.enter(server)
        for _ in range(2):
            assert (await guest.call("join", "B", "Grace"))["error"].startswith("room 'B' not found")
        assert await guest.call("say", "hello") == {"error": "You are not in a room."}
        await guest.call("create_room", "A", "Grace")
        assert await guest.call("join", "A", "Grace") == {"error": "This socket has joined a room."}
        await guest.leave()
        with pytest.raises(SocketIOError, match="failed to connect"):
            await _Guest("").enter(server)


async def test_plain_asyncio(url: str, load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    """The program greets its guest and deletes its room."""
    await load("plain_asyncio").main()
    assert capsys.readouterr().out == "['Grace is here']\n"
    async with open_store(url) as store:
        assert [room_id async for room_id in store.rooms.active_room_ids()] == []


async def test_plain_asyncio_sweeps_repeatedly(load: Load) -> None:
    """The sweeper reports each sweep until it is cancelled."""
    reports: asyncio.Queue[int] = asyncio.Queue()
    async with MemoryStore() as store:
        sweeping = asyncio.create_task(
            load("plain_asyncio").sweep_regularly(store.rooms, timedelta(milliseconds=1), reports.put_nowait)
        )
        async with asyncio.timeout(SECONDS):
            assert [await reports.get(), await reports.get()] == [0, 0]
        sweeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeping
