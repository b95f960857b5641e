"""Errors, limits, several servers, and the files that they serve."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from watch_party import identity
from watch_party.app import app
from watch_party.identity import RejectedError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from party_page import Party, names, visiting
from party_server import PartyServer, party_by_make, party_server
from processes import run
from redis_server import RedisServer
from serving import http_client, serving
from wnc_store import AppEvent, ChatMessage, Resync, Store, StoreUnavailableError

_LONG = {"WNC_STORE_CONNECTION_TTL": "600"}  # longer than any test, even on a slow machine
_STATIC = Path(__file__).parents[3] / "examples/watch_party/static"


async def test_events_were_lost(party: Party, store: Store) -> None:
    """After lost events the page receives the complete room and chat."""
    ada = await party.host()
    message = ChatMessage(room_id=ada.code, user_id="u", user_name="Grace", message="hello")
    await store.chat.add_message(message)
    await store.events.publish(ada.code, Resync(room_id=ada.code))
    assert [stored["id"] for stored in (await ada.receive("state"))["messages"]] == [message.id]


async def test_the_store_is_unavailable(party: Party, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store is unavailable, the socket is closed with code 1013 and without the name of the server."""
    ada = await party.host()

    async def fail(_message: ChatMessage) -> None:
        raise StoreUnavailableError("no reply from secret-host:6379")

    monkeypatch.setattr(store.chat, "add_message", fail)
    await ada.send("say", id=secrets.token_hex(16), text="hello")
    assert await ada.closed() == 1013
    assert "secret-host" not in str(ada._socket.close_reason)


async def test_rate_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the rate limit, messages get a time to wait, joins are rejected, and HTTP requests get 429."""
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_MAX", "3")
    async with serving(app) as address, visiting(address) as party, http_client() as client:
        ada = await party.host()
        for _ in range(3):
            await ada.say("spam")
        await ada.send("say", id=secrets.token_hex(16), text="spam")
        assert 0 < (await ada.receive("tooFast"))["seconds"] <= 60
        assert (await client.get(f"http://{address}/")).status_code == 200
        assert (await client.get(f"http://{address}/")).status_code == 200
        assert (await client.get(f"http://{address}/")).status_code == 429
        assert await party.join_rejected(ada.code, "Grace") == "tooFast"
        await ada.send("ping", sent=1)
        await ada.receive("pong")


async def test_requests_of_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users with different keys at one address share the rate limit of their requests."""
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_MAX", "4")
    async with serving(app) as address, visiting(address) as party:
        pages = [ada := await party.host(), await party.guest(ada.code, "Grace"), await party.guest(ada.code, "Lin")]
        for page in (*pages, ada):
            await page.say("hello")
        for page in pages:
            await page.send("say", id=secrets.token_hex(16), text="hello")
            assert 0 < (await page.receive("tooFast"))["seconds"] <= 60


async def test_typing_above_the_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the rate limit, a notice that a guest is writing is dropped, and the page receives no answer."""
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_MAX", "3")
    async with serving(app) as address, visiting(address) as party:
        ada = await party.host()
        for _ in range(4):
            await ada.send("typing")
        await ada.send("ping", sent=1)
        assert [message["type"] for message in await ada.receive_until("pong")].count("tooFast") == 0
        await ada.send("say", id=secrets.token_hex(16), text="hello")
        messages = await ada.receive_until("tooFast")
        assert [message["type"] for message in messages].count("appEvent") <= 3


async def test_a_foreign_origin(party: Party, store: Store) -> None:
    """A WebSocket of a page from another origin is refused with 403 before it is counted; one of this page is not."""
    for origin in ("http://evil.example", f"http://evil.{party.address}", "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{party.address}/party", origin=Origin(origin), proxy=None)
        assert refused.value.response.status_code == 403
    assert (await store.rate_limits.peek("127.0.0.1")).remaining == 360
    async with connect(f"ws://{party.address}/party", origin=Origin(f"http://{party.address}"), proxy=None) as socket:
        await socket.send("{}")
        await socket.wait_closed()
        assert socket.close_code == 1008
    assert (await store.rate_limits.peek("127.0.0.1")).remaining == 359


@pytest.mark.parametrize("path", ["/", "/static/style.css", "/healthz", "/nothing"])
async def test_security_headers(party: Party, path: str) -> None:
    """Each response restricts what the page may load, forbids frames of it, and fixes its content type."""
    async with http_client() as client:
        headers = (await client.get(f"http://{party.address}{path}")).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["X-Content-Type-Options"], headers["X-Frame-Options"]) == ("nosniff", "DENY")


async def test_texts_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts above the limits of the store's settings are rejected with `tooLong`, and the socket stays open."""
    for name in ("MESSAGE", "NAME", "URL"):
        monkeypatch.setenv(f"WNC_STORE_MAX_{name}_LENGTH", "20")
    async with serving(app) as address, visiting(address) as party:
        ada = await party.host()
        message_id = secrets.token_hex(16)
        await ada.send("say", id=message_id, text="x" * 21)
        assert await ada.receive("rejected") == {"type": "rejected", "reason": "tooLong", "id": message_id}
        await ada.send("watch", url="https://youtu.be/dQw4w9WgXcQ")
        assert await ada.receive("rejected") == {"type": "rejected", "reason": "tooLong"}
        assert await party.join_rejected(ada.code, "G" * 21) == "tooLong"
        await ada.say("still here")


async def test_a_page_disconnects_during_a_write(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The app logs no error when it sends an event to a page that disconnected while the store was busy."""
    started = asyncio.Event()

    async def never_finish(_message: ChatMessage) -> None:
        started.set()
        await asyncio.Event().wait()

    async with serving(app) as address, visiting(address) as party:
        monkeypatch.setattr(app.state.store.chat, "add_message", never_finish)
        ada = await party.host()
        grace = await party.guest(ada.code, "Grace")
        await grace.send("say", id=secrets.token_hex(16), text="hello")
        await started.wait()
        await grace.disconnect()
        await ada.send("play", playing=True)
        await ada.receive("videoStateChanged")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_page_disconnects_while_others_talk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The app logs no error when an event and an answer are sent at once to a page that has disconnected."""
    started, finish = asyncio.Event(), asyncio.Event()

    async def finish_later(_message: ChatMessage) -> None:
        started.set()
        await finish.wait()

    async with serving(app) as address, visiting(address) as party:
        ada = await party.host()
        grace = await party.guest(ada.code, "Grace")
        monkeypatch.setattr(app.state.store.chat, "add_message", finish_later)
        await grace.send("say", id=secrets.token_hex(16), text="hello")
        await started.wait()
        await grace.disconnect()
        finish.set()
        await app.state.store.events.publish(ada.code, AppEvent(room_id=ada.code, name="typing"))
        await ada.receive("appEvent")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_connection_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the connection limit of an address, a socket is closed with a reason that the page shows."""
    monkeypatch.setenv("WNC_STORE_CONNECTION_LIMIT", "2")
    async with serving(app) as address, visiting(address) as party:
        ada = await party.host()
        await party.guest(ada.code, "Grace")
        lin = await party.open("Lin")
        assert await lin.closed() == 1008
        assert lin._socket.close_reason == "too many connections"


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> Iterator[PartyServer]:
    """A server on Redis."""
    with party_server(redis_server.url.replace("/0", "/8"), **_LONG) as server:
        yield server


async def test_a_server_is_killed(server: PartyServer, redis_server: RedisServer) -> None:
    """A host whose server was killed reconnects to the other server, stays the host and misses no message."""
    with party_server(redis_server.url.replace("/0", "/8"), **_LONG) as killed:
        async with visiting(killed.host) as first, visiting(server.host) as second:
            ada = await first.host()
            grace = await second.guest(ada.code, "Grace")
            before = await ada.say("before")
            killed.kill()
            missed = await grace.say("missed")
            reconnected = await second.guest(ada.code, "Ada", ada.key)
            await reconnected.say("before", before)
            last = await reconnected.say("after")
            assert names(reconnected) == [("Ada", True), ("Grace", False)]
            assert [message["id"] for message in reconnected.state["messages"]] == [before, missed]
            messages = await grace.receive_until("messageAdded")
            while messages[-1]["message"]["id"] != last:
                messages += await grace.receive_until("messageAdded")
            assert {message["type"] for message in messages} == {"messageAdded"}
            await reconnected.send("close")
            assert (await grace.receive("end"))["reason"] == "closed"


@pytest.mark.parametrize("backend", ["redis", "postgres"])
async def test_make_party(backend: str, request: pytest.FixtureRequest) -> None:
    """`make party` on a server runs two workers at the address that it prints, and their guests see each other."""
    if backend == "redis":
        url = request.getfixturevalue("redis_server").url.replace("/0", "/8")
    else:
        url = request.getfixturevalue("postgres_server").url()
    assert "--workers 2 " in run("make", "--dry-run", "party", f"URL={url}").stdout
    with party_by_make(url, **_LONG) as server:
        async with visiting(server.host) as party:
            ada = await party.host()
            for name in ("Grace", "Lin"):  # perhaps on different workers
                await party.guest(ada.code, name)
                assert (await ada.receive("userJoined"))["user"]["name"] == name


async def test_the_page_is_complete(party: Party) -> None:
    """The app serves every file that the page loads, and the page uses no other server except YouTube."""
    async with http_client() as client:
        page = await client.get(f"http://{party.address}/")
        assert page.status_code == 200
        paths = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
        for module in _STATIC.glob("*.js"):
            text = module.read_text()
            paths |= {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}
            assert set(re.findall(r"https?://[^\"`/]+", text)) <= {"https://www.youtube.com"}
        assert len(paths) >= 8
        for path in paths:
            assert (await client.get(f"http://{party.address}{path}")).status_code == 200, path
        assert (await client.get(f"http://{party.address}/healthz")).json() == {"status": "ok"}


def test_codes_are_unambiguous() -> None:
    """Room codes contain no characters that look alike."""
    assert not set("".join(identity.new_room_code() for _ in range(200))) & set("01IO")


def test_a_name_is_cleaned() -> None:
    """Whitespace around a name is removed, and whitespace between its words becomes one space."""
    assert identity.clean_name("  Ada \n Lovelace ") == "Ada Lovelace"
    with pytest.raises(RejectedError):
        identity.clean_name("\n")
