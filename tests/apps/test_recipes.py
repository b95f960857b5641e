"""The recipes for dependency injection, under a real server, in memory and on a real Redis."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import socketio  # pyright: ignore[reportMissingTypeStubs] - it is not typed
from websockets.asyncio.client import connect

from chaos.server import emptied
from redis_server import RedisServer
from serving import http_client, serving
from waiting import SECONDS, wait_until
from wnc_store import open_store
from wnc_store_memory import MemoryStore

_RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
_HTTP = ["dishka_app", "fastapi_app", "litestar_app", "starlette_app"]

Load = Callable[[str], Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import a recipe as uvicorn does, because Litestar looks up the module of its handlers."""
    monkeypatch.setattr(sys, "path", [str(_RECIPES), *sys.path])

    def load(name: str) -> Any:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


@pytest.fixture(params=["memory", "redis"])
async def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """The URL of the store in the environment, which is empty before and after the test."""
    if request.param == "memory":
        monkeypatch.setenv("WNC_STORE_URL", "memory://")
        yield "memory://"
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    url = server.url.replace("/0", "/8")
    monkeypatch.setenv("WNC_STORE_URL", url)
    async with emptied(url):
        yield url


def test_each_recipe_is_tested() -> None:
    """Each recipe has a test in this file."""
    tested = {*_HTTP, "socketio_app", "plain_asyncio"}
    assert {path.stem for path in _RECIPES.glob("*.py")} == tested


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
                assert room.to_public_json() == joined.json()


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
            await store.rooms.edit_room("A3X9K2", lambda room: room.model_copy(update={"host_name": "Ada \ud83d"}))
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


@pytest.mark.parametrize("name", [*_HTTP, "socketio_app"])
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

    def __init__(self) -> None:
        self._client: Any = socketio.AsyncClient(request_timeout=SECONDS)
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        for event in ("room", "message"):
            self._client.on(event, partial(self._on_event, event))

    async def _on_event(self, event: str, data: Any) -> None:
        await self.events.put((event, data))

    async def enter(self, server: str) -> None:
        """Connect."""
        await self._client.connect(f"http://{server}", transports=["websocket"], wait_timeout=SECONDS)

    async def call(self, event: str, *args: str) -> Any:
        """Send an event and return its answer."""
        return await self._client.call(event, args, timeout=SECONDS)

    async def next(self) -> tuple[str, Any]:
        """Return the next event."""
        async with asyncio.timeout(SECONDS):
            return await self.events.get()

    async def leave(self) -> None:
        """Disconnect."""
        await self._client.disconnect()


async def test_a_party_over_socketio(url: str, load: Load) -> None:
    """Guests receive joins and messages, and the next guest becomes host when the host's socket closes."""
    assert url
    ada, grace = _Guest(), _Guest()
    async with serving(load("socketio_app").app) as server:
        await ada.enter(server)
        await grace.enter(server)
        created = await ada.call("create_room", "A3X9K2", "Ada")
        assert "hostToken" not in created
        joined = await grace.call("join", "A3X9K2", "Grace")
        assert [user["name"] for user in joined["users"]] == ["Ada", "Grace"]
        assert await ada.next() == ("room", joined)
        said = await grace.call("say", "A3X9K2", "hello")
        for guest in (ada, grace):
            event, message = await guest.next()
            assert (event, message["id"], message["userName"], message["message"]) == (
                "message",
                said["id"],
                "Grace",
                "hello",
            )
        await ada.leave()
        event, room = await grace.next()
        assert (event, room["hostName"]) == ("room", "Grace")
        await grace.leave()


async def test_half_an_emoji_over_socketio(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """A name and a message with half an emoji, cut by JavaScript, are accepted and sent to the other guests."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    ada, grace = _Guest(), _Guest()
    async with serving(load("socketio_app").app) as server:
        await ada.enter(server)
        await grace.enter(server)
        await ada.call("create_room", "A3X9K2", "Ada \ud83d")
        joined = await grace.call("join", "A3X9K2", "Grace")
        assert [user["name"] for user in joined["users"]] == ["Ada \ud83d", "Grace"]
        assert await ada.next() == ("room", joined)
        await grace.call("say", "A3X9K2", "cut \ud83d")
        assert (await ada.next())[1]["message"] == "cut \ud83d"
        await ada.leave()
        await grace.leave()


async def test_errors_over_socketio(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    """A store's error is returned to the sender, and only users of the room can send messages."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://")
    guest = _Guest()
    async with serving(load("socketio_app").app) as server:
        await guest.enter(server)
        assert (await guest.call("join", "B", "Grace"))["error"].startswith("room 'B' not found")
        assert await guest.call("say", "B", "hello") == {"error": "You are not in this room."}
        await guest.leave()


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
