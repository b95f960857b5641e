"""The FastAPI example, on an injected memory store and on a Redis server that WNC_STORE_URL names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from redis_server import RedisServer, redis_server
from serving import load_example
from wnc_store import get_store
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore

_DATABASE = 6


example = load_example("fastapi_app")
app = example.app


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://party.test")


@pytest.fixture(params=["memory", "redis"])
async def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app with an empty store."""
    if request.param == "memory":
        async with MemoryStore() as store, _client() as client:
            monkeypatch.setitem(app.dependency_overrides, example.get_store, lambda: store)
            yield client
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    monkeypatch.setenv("WNC_STORE_URL", f"redis://127.0.0.1:{server.port}/{_DATABASE}")
    async with app.router.lifespan_context(app), _client() as client:
        store = await get_store()
        assert isinstance(store, RedisStore)
        yield client
        async for room_id in store.rooms.active_room_ids():
            await store.rooms.delete_room(room_id)


async def _create(client: httpx.AsyncClient, **fields: Any) -> dict[str, str]:
    answer = await client.post("/rooms", json={"hostName": "Ada", **fields})
    assert answer.status_code == 201
    return answer.json()


async def _join(client: httpx.AsyncClient, room_id: str, name: str) -> str:
    answer = await client.post(f"/rooms/{room_id}/users", json={"name": name})
    assert answer.status_code == 201
    return answer.json()["userId"]


async def test_a_party_works(client: httpx.AsyncClient) -> None:
    """A room is created, joined and read, with its users in the order of joining."""
    created = await _create(client)
    guest = await _join(client, created["roomId"], "Grace")
    room = (await client.get(f"/rooms/{created['roomId']}")).json()
    assert (room["hostId"], room["hostName"], room["rev"]) == (created["userId"], "Ada", 2)
    assert [(user["id"], user["name"], user["isHost"]) for user in room["users"]] == [
        (created["userId"], "Ada", True),
        (guest, "Grace", False),
    ]


async def test_only_the_creator_sees_the_token(client: httpx.AsyncClient) -> None:
    """Only the response that creates the room contains the host token."""
    created = await _create(client)
    room, token = f"/rooms/{created['roomId']}", created["hostToken"]
    guest = await _join(client, created["roomId"], "Grace")
    host_only = {"X-Host-Token": token}
    answers = [
        await client.post("/rooms", json={"hostName": "Eve", "roomId": created["roomId"]}),
        await client.get(room),
        await client.post(f"{room}/users", json={"name": "Lin"}),
        await client.post(f"{room}/messages", json={"userId": guest, "message": "hello"}),
        await client.get(f"{room}/messages"),
        await client.put(f"{room}/video", json={"url": "https://video.example/1"}, headers=host_only),
        await client.put(f"{room}/video/state", json={"isPlaying": True}, headers=host_only),
        await client.put(f"{room}/video/state", json={"isPlaying": "maybe"}, headers=host_only),
        await client.post(f"{room}/host", json={"userId": "stranger"}, headers=host_only),
        await client.post(f"{room}/host", json={"userId": guest}, headers=host_only),
        await client.delete(f"{room}/users/{created['userId']}"),
    ]
    assert [answer.status_code for answer in answers] == [409, 200, 201, 201, 200, 200, 200, 422, 404, 200, 200]
    for answer in answers:
        assert token not in answer.text
        assert token not in str(answer.headers)


@pytest.mark.parametrize("headers", [{}, {"X-Host-Token": ""}, {"X-Host-Token": "guessed"}])
async def test_a_wrong_token_is_rejected(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """A host request without the host token gets 403 and changes nothing."""
    created = await _create(client)
    room = f"/rooms/{created['roomId']}"
    guest = await _join(client, created["roomId"], "Grace")
    before = (await client.get(room)).json()
    for answer in (
        await client.post(f"{room}/host", json={"userId": guest}, headers=headers),
        await client.put(f"{room}/video", json={"url": "https://video.example/1"}, headers=headers),
        await client.put(f"{room}/video/state", json={"isPlaying": True}, headers=headers),
    ):
        assert answer.status_code == 403
    assert (await client.get(room)).json() == before


async def test_the_host_chooses_and_plays(client: httpx.AsyncClient) -> None:
    """The host token allows to set a video, to play it and to transfer the host role."""
    created = await _create(client)
    room, host_only = f"/rooms/{created['roomId']}", {"X-Host-Token": created["hostToken"]}
    guest = await _join(client, created["roomId"], "Grace")
    video = {"url": "https://video.example/1.m3u8", "type": "m3u8"}
    chosen = (await client.put(f"{room}/video", json=video, headers=host_only)).json()
    assert (chosen["videoUrl"], chosen["videoType"]) == ("https://video.example/1.m3u8", "m3u8")
    state = {"isPlaying": True, "currentTime": 12.5, "duration": 60, "lastUpdateTime": 1767225600000}
    played = (await client.put(f"{room}/video/state", json=state, headers=host_only)).json()
    assert played["videoState"] == state
    transferred = (await client.post(f"{room}/host", json={"userId": guest}, headers=host_only)).json()
    assert [(user["id"], user["isHost"]) for user in transferred["users"]] == [
        (created["userId"], False),
        (guest, True),
    ]


async def test_a_room_is_deleted_with_its_last_user(client: httpx.AsyncClient) -> None:
    """After its last user has left, requests for a room and its chat get 404."""
    created = await _create(client)
    room = f"/rooms/{created['roomId']}"
    await client.post(f"{room}/messages", json={"userId": created["userId"], "message": "bye"})
    assert (await client.delete(f"{room}/users/{created['userId']}")).json() == {"room": None}
    for answer in (
        await client.get(room),
        await client.get(f"{room}/messages"),
        await client.post(f"{room}/users", json={"name": "late"}),
        await client.put(f"{room}/video", json={"url": "x"}, headers={"X-Host-Token": created["hostToken"]}),
    ):
        assert answer.status_code == 404


async def test_a_repeated_message_is_kept_once(client: httpx.AsyncClient) -> None:
    """A message that is sent twice with the same id is stored once, and `limit` selects the newest messages."""
    created = await _create(client)
    messages = f"/rooms/{created['roomId']}/messages"
    for _ in range(2):
        answer = await client.post(messages, json={"userId": created["userId"], "message": "hello", "id": "m1"})
        assert answer.status_code == 201
    assert [message["id"] for message in (await client.get(messages)).json()] == ["m1"]
    await client.post(messages, json={"userId": created["userId"], "message": "bye", "id": "m2"})
    assert [message["id"] for message in (await client.get(messages, params={"limit": 1})).json()] == ["m2"]


async def test_bad_requests_are_rejected(client: httpx.AsyncClient) -> None:
    """An invalid id or limit gets 422."""
    created = await _create(client)
    room = f"/rooms/{created['roomId']}"
    for answer in (
        await client.post("/rooms", json={"hostName": "Ada", "roomId": "no spaces"}),
        await client.get("/rooms/a*"),
        await client.post("/rooms/a*/users", json={"name": "Grace"}),
        await client.delete(f"{room}/users/%20b"),
        await client.post(f"{room}/messages", json={"userId": created["userId"], "message": "x", "id": ""}),
        await client.get(f"{room}/messages", params={"limit": -1}),
    ):
        assert answer.status_code == 422
        assert isinstance(answer.json()["detail"], str)


async def test_strangers_are_not_found(client: httpx.AsyncClient) -> None:
    """A user who is not in the room cannot send messages to it."""
    created = await _create(client)
    messages = f"/rooms/{created['roomId']}/messages"
    assert (await client.post(messages, json={"userId": "stranger", "message": "x"})).status_code == 404
    assert (await client.get(messages)).json() == []


async def test_half_an_emoji_is_shown(client: httpx.AsyncClient) -> None:
    """A name with half an emoji, cut by JavaScript, is accepted and returned unchanged."""
    body = rb'{"hostName":"cut \ud83d"}'
    answer = await client.post("/rooms", content=body, headers={"Content-Type": "application/json"})
    room = (await client.get(f"/rooms/{answer.json()['roomId']}")).json()
    assert room["hostName"] == "cut \ud83d"


@pytest.mark.parametrize("body", [rb'{"hostName":["\ud83d"]}', rb'{"hostName":"Ada","\ud83d":1}', rb'"\ud83d"'])
async def test_half_an_emoji_in_an_invalid_body_is_rejected(client: httpx.AsyncClient, body: bytes) -> None:
    """An invalid body with half an emoji is rejected with 422, and the response names the value."""
    answer = await client.post("/rooms", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert r"\ud83d" in answer.text


async def test_half_an_emoji_in_an_id_is_rejected(client: httpx.AsyncClient) -> None:
    """A message id or a room id with half an emoji is rejected with 422."""
    created = await _create(client)
    message = rb'{"userId":"%s","message":"x","id":"\ud83d"}' % created["userId"].encode()
    for path, body in (
        (f"/rooms/{created['roomId']}/messages", message),
        ("/rooms", rb'{"hostName":"x","roomId":"\ud83d"}'),
    ):
        answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422


async def test_health(client: httpx.AsyncClient) -> None:
    """The health check succeeds on an available store."""
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_the_api_describes_itself(client: httpx.AsyncClient) -> None:
    """The OpenAPI document has the fields of a public room, and its parameters omit the injected store."""
    document = (await client.get("/openapi.json")).json()
    parameters = {
        parameter["name"]
        for path in document["paths"].values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
    }
    assert parameters == {"room_id", "user_id", "x-host-token", "limit"}
    room = document["components"]["schemas"]["PublicRoom"]["properties"]
    assert room.keys() >= {"id", "hostId", "hostName", "videoState", "users", "rev"}
    assert "hostToken" not in room


async def test_the_server_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """While Redis is unavailable, requests get 503 with `Retry-After`, and the body does not name the server."""
    with ExitStack() as running:
        server = running.enter_context(redis_server())
        monkeypatch.setenv("WNC_STORE_URL", server.url)
        async with app.router.lifespan_context(app), _client() as client:
            room = f"/rooms/{(await _create(client))['roomId']}"
            running.close()
            for answer in (
                await client.get(room),
                await client.post("/rooms", json={"hostName": "Ada"}),
                await client.post(f"{room}/users", json={"name": "Grace"}),
                await client.get("/healthz"),
            ):
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) > 0
                assert str(server.port) not in answer.text
