"""Room events that are forwarded to a WebSocket, under a real server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from serving import serving
from waiting import SECONDS, wait_until
from wnc_store import AppEvent, ChatMessage, Resync, Room, StoreSettings, StoreUnavailableError, User, VideoState
from wnc_store.starlette import ConnectionGuard, forward_room, run_until_disconnect, send_json
from wnc_store_memory import MemoryStore

_LOCAL = "127.0.0.1"
_ADA, _GRACE = User(id="u1", name="Ada"), User(id="u2", name="Grace")


@pytest.fixture
async def store() -> AsyncGenerator[MemoryStore]:
    """A store with the room "A"."""
    async with MemoryStore(StoreSettings(publish_changes=True)) as store:
        await store.rooms.create_room(Room.hosted_by(_ADA, room_id="A"))
        yield store


@asynccontextmanager
async def _visiting(endpoint: Callable[[WebSocket], Awaitable[None]]) -> AsyncGenerator[ClientConnection]:
    """Yield a client of an endpoint, which begins when the client has connected. The server stops first."""
    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    async with serving(app) as server:
        client = await connect(f"ws://{server}/", open_timeout=SECONDS, ping_interval=None, proxy=None)
        yield client
    await client.close()


async def _receive(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        return json.loads(await client.recv())


async def _closed(client: ClientConnection) -> int | None:
    async with asyncio.timeout(SECONDS):
        await client.wait_closed()
    return client.close_code


def _forwarding(store: MemoryStore, room_id: str = "A", **options: Any) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(websocket: WebSocket) -> None:
        async with ConnectionGuard(store, websocket):
            await websocket.accept()
            await forward_room(store, room_id, websocket, **options)

    return endpoint


async def test_private_fields_are_not_forwarded(store: MemoryStore) -> None:
    """A client receives only the named extra fields of the room and of its users, in the room and in events."""
    private = Room.hosted_by(_ADA, room_id="B").with_extra({"passwordHash": "SECRET", "theme": "dark"})
    await store.rooms.create_room(private)
    async with _visiting(_forwarding(store, "B", include={"theme", "users.color"})) as client:
        first = (await _receive(client))["room"]
        assert (first["theme"], "passwordHash" in first) == ("dark", False)
        await store.rooms.add_user_to_room("B", _GRACE.with_extra({"email": "SECRET", "color": "red"}))
        joined = (await _receive(client))["user"]
        assert (joined["color"], "email" in joined) == ("red", False)


async def test_a_room_is_forwarded(store: MemoryStore) -> None:
    """A client receives the room with its chat, each event, the room again if it has to be read, and the end."""
    message = ChatMessage(room_id="A", user_id="u1", user_name="Ada", message="half an emoji: \ud83d")
    await store.chat.add_message(message)
    async with _visiting(_forwarding(store)) as client:
        first = await _receive(client)
        assert first == {"type": "room", "room": first["room"], "messages": [message.to_json()]}
        assert [user["name"] for user in first["room"]["users"]] == ["Ada"]
        assert "hostToken" not in first["room"]
        await store.rooms.add_user_to_room("A", _GRACE)
        assert (await _receive(client))["user"]["name"] == "Grace"
        await store.events.publish("A", AppEvent(room_id="A", name="typing", value={"by": "u1"}))
        assert (await _receive(client))["value"] == {"by": "u1"}
        await store.events.publish("A", Resync(room_id="A"))
        again = await _receive(client)
        assert [user["name"] for user in again["room"]["users"]] == ["Ada", "Grace"]
        await store.rooms.delete_room("A")
        assert await _receive(client) == {"type": "room", "room": None, "messages": []}
        assert await _closed(client) == 1000


async def test_a_message_that_is_added_after_a_removal_is_sent(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message in the chat that was sent is sent again if an event before it made the client remove it."""
    sent = ChatMessage(id="m1", room_id="A", user_id="u1", user_name="Ada", message="hello")
    get_room = store.rooms.get_room

    async def change_first(room_id: str) -> Room | None:
        monkeypatch.setattr(store.rooms, "get_room", get_room)
        await store.chat.add_message(sent)
        await store.chat.remove_message(room_id, "m1")
        await store.chat.add_message(sent)
        await store.chat.clear_messages(room_id)
        await store.chat.add_message(sent)
        await store.chat.edit_message(room_id, "m1", lambda found: found.model_copy(update={"message": "edited"}))
        return await get_room(room_id)

    monkeypatch.setattr(store.rooms, "get_room", change_first)
    async with _visiting(_forwarding(store)) as client:
        assert [entry["message"] for entry in (await _receive(client))["messages"]] == ["edited"]
        received = [await _receive(client) for _ in range(5)]
        assert [event["type"] for event in received] == [
            "messageRemoved",
            "messageAdded",
            "messagesCleared",
            "messageAdded",
            "messageChanged",
        ]
        assert received[0]["messageId"] == "m1"
        assert received[-1]["message"]["message"] == "edited"


async def test_what_the_room_contains_is_skipped(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event whose effect is in the room or the chat that was sent is not sent."""
    message = ChatMessage(room_id="A", user_id="u1", user_name="Ada", message="hello")
    get_room = store.rooms.get_room

    async def change_first(room_id: str) -> Room | None:
        monkeypatch.setattr(store.rooms, "get_room", get_room)
        await store.chat.add_message(message)
        await store.rooms.add_user_to_room(room_id, _GRACE)
        return await get_room(room_id)

    monkeypatch.setattr(store.rooms, "get_room", change_first)
    async with _visiting(_forwarding(store)) as client:
        first = await _receive(client)
        assert [user["name"] for user in first["room"]["users"]] == ["Ada", "Grace"]
        assert len(first["messages"]) == 1
        await store.rooms.update_video_state("A", VideoState(is_playing=True))
        assert (await _receive(client))["type"] == "videoStateChanged"


async def test_a_missing_room(store: MemoryStore) -> None:
    """If the room does not exist, the client receives a null room, and the WebSocket is closed."""
    await store.rooms.delete_room("A")
    async with _visiting(_forwarding(store)) as client:
        assert (await _receive(client))["room"] is None
        assert await _closed(client) == 1000


async def test_an_invalid_room_id(store: MemoryStore) -> None:
    """If the room id is invalid, the WebSocket is closed with code 1008."""
    async with _visiting(_forwarding(store, "no room")) as client:
        assert await _closed(client) == 1008


async def test_the_store_is_unavailable(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store becomes unavailable, the WebSocket is closed with code 1013 and without the name of the server."""
    async with _visiting(_forwarding(store)) as client:
        await _receive(client)

        async def fail(_room_id: str) -> Room | None:
            raise StoreUnavailableError("no reply from secret-host:6379")

        monkeypatch.setattr(store.rooms, "get_room", fail)
        await store.events.publish("A", Resync(room_id="A"))
        assert await _closed(client) == 1013
        assert client.close_reason == ""


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_of_a_quiet_room_leaves(store: MemoryStore, *, reset: bool) -> None:
    """The endpoint of a room without events ends when its client leaves, and the lease is released."""
    async with _visiting(_forwarding(store)) as client:
        await _receive(client)
        await client.send("a message that nobody handles")
        assert await store.connections.count(_LOCAL) == 1
        if reset:
            client.transport.abort()
        else:
            await client.close()

        async def is_released() -> bool:
            return await store.connections.count(_LOCAL) == 0

        await wait_until(is_released)


async def test_a_server_with_a_quiet_room_stops(store: MemoryStore) -> None:
    """A server stops although a client of a room without events is connected, and the lease is released."""
    async with _visiting(_forwarding(store)) as client:
        await _receive(client)
    assert await _closed(client) == 1012
    assert await store.connections.count(_LOCAL) == 0


async def test_messages_are_handled(store: MemoryStore) -> None:
    """`on_message` receives text and bytes, and an error of it ends the endpoint and is not wrapped."""
    received: asyncio.Queue[str | bytes] = asyncio.Queue()
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def handle(message: str | bytes) -> None:
        received.put_nowait(message)
        if message == b"stop":
            raise ZeroDivisionError

    async def endpoint(websocket: WebSocket) -> None:
        try:
            await _forwarding(store, on_message=handle)(websocket)
        except BaseException as error:  # noqa: BLE001 - the test checks it
            raised.set_result(error)

    async with _visiting(endpoint) as client:
        await client.send("hello")
        await client.send(b"stop")
        assert [await received.get(), await received.get()] == ["hello", b"stop"]
        assert type(await raised) is ZeroDivisionError
        assert await store.connections.count(_LOCAL) == 0


@pytest.mark.parametrize("reset", [False, True])
async def test_sending_to_a_client_that_left(*, reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    """If sending and handling a message fail because the client has left, the endpoint ends without an error."""
    ended = asyncio.Event()

    async def endpoint(websocket: WebSocket) -> None:
        async def talk() -> None:
            while True:
                await send_json(websocket, "hello")
                await asyncio.sleep(0.001)

        async def answer(_message: object) -> None:
            with pytest.raises(WebSocketDisconnect):
                await talk()
            await send_json(websocket, "again")

        await websocket.accept()
        await run_until_disconnect(websocket, asyncio.sleep(SECONDS), answer)
        ended.set()

    async with _visiting(endpoint) as client:
        await client.send("hello")
        await client.recv()
        if reset:
            client.transport.abort()
        else:
            await client.close()
        async with asyncio.timeout(SECONDS):
            await ended.wait()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_cancelling() -> None:
    """Cancelling the endpoint cancels both directions."""
    cancelled: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    started = asyncio.Event()
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def on_message(_message: object) -> None:
        started.set()
        await wait("on_message")

    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        running = asyncio.create_task(run_until_disconnect(websocket, wait("sending"), on_message))
        await started.wait()
        running.cancel()
        await asyncio.wait([running])
        outcome.set_result(running.cancelled())

    async with _visiting(endpoint) as client:
        await client.send("hello")
        assert await outcome
    assert sorted(cancelled) == ["on_message", "sending"]
