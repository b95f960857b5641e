"""Trouble, several servers, and what they serve."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from watch_party import identity
from watch_party.app import app
from watch_party.identity import Refused

from party_page import Party, names, visiting
from party_server import PartyServer, party_by_make, party_server
from redis_server import RedisServer
from serving import http_client, serving
from wnc_store import ChatMessage, Resync, Store, StoreUnavailableError

_LONG = {"WNC_STORE_CONNECTION_TTL": "600"}  # nobody is away for longer than that, however slow the machine
_STATIC = Path(__file__).parents[3] / "examples/watch_party/static"


async def test_events_were_lost(party: Party, store: Store) -> None:
    """When events were lost, the page is told the whole room and chat."""
    ada = await party.host()
    message = ChatMessage(room_id=ada.code, user_id="u", user_name="Grace", message="hello")
    await store.chat.add_message(message)
    await store.events.publish(ada.code, Resync(room_id=ada.code))
    assert [said["id"] for said in (await ada.told("state"))["messages"]] == [message.id]


async def test_the_store_is_away(party: Party, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the store can't serve, the page is asked to come back; the reason, which names the server, is not told."""
    ada = await party.host()

    async def fail(_message: ChatMessage) -> None:
        raise StoreUnavailableError("nobody answers at secret-host:6379")

    monkeypatch.setattr(store.chat, "add_message", fail)
    await ada.send("say", id=secrets.token_hex(16), text="hello")
    assert await ada.closed() == 1013
    assert "secret-host" not in str(ada._socket.close_reason)


async def test_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says too much is told how long to wait, and stays; who comes too often is sent away; HTTP gets 429."""
    monkeypatch.setenv("WNC_STORE_RATE_LIMIT_MAX", "3")
    async with serving(app) as address, visiting(address) as party, http_client() as client:
        ada = await party.host()
        for _ in range(3):
            await ada.say("spam")
        await ada.send("say", id=secrets.token_hex(16), text="spam")
        assert 0 < (await ada.told("tooFast"))["seconds"] <= 60
        assert (await client.get(f"http://{address}/")).status_code == 200
        assert (await client.get(f"http://{address}/")).status_code == 200
        assert (await client.get(f"http://{address}/")).status_code == 429
        assert await party.refused(ada.code, "Grace") == "tooFast"
        await ada.send("ping", sent=1)
        await ada.told("pong")


async def test_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than the store's settings allow is refused, once and for all: coming back would not help."""
    for name in ("MESSAGE", "NAME", "URL"):
        monkeypatch.setenv(f"WNC_STORE_MAX_{name}_LENGTH", "20")
    async with serving(app) as address, visiting(address) as party:
        ada = await party.host()
        message_id = secrets.token_hex(16)
        await ada.send("say", id=message_id, text="x" * 21)
        assert await ada.told("refused") == {"type": "refused", "reason": "tooLong", "id": message_id}
        await ada.send("watch", url="https://youtu.be/dQw4w9WgXcQ")
        assert await ada.told("refused") == {"type": "refused", "reason": "tooLong"}
        assert await party.refused(ada.code, "G" * 21) == "tooLong"
        await ada.say("still here")


async def test_gone_while_the_store_works(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A page that is gone while its message is with the store, and is told something, is no error of the app."""
    working = asyncio.Event()

    async def work(_message: ChatMessage) -> None:
        working.set()
        await asyncio.Event().wait()

    async with serving(app) as address, visiting(address) as party:
        monkeypatch.setattr(app.state.store.chat, "add_message", work)
        ada = await party.host()
        grace = await party.guest(ada.code, "Grace")
        await grace.send("say", id=secrets.token_hex(16), text="hello")
        await working.wait()
        await grace.vanish()
        await ada.send("play", playing=True)
        await ada.told("videoStateChanged")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of an address, a socket is closed with a reason that the page can show."""
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


async def test_two_servers(server: PartyServer, redis_server: RedisServer) -> None:
    """Guests at two servers on one Redis see and hear one another, and the host's place goes from one to the other."""
    with party_server(redis_server.url.replace("/0", "/8"), **_LONG) as other:
        async with visiting(server.host) as here, visiting(other.host) as there:
            ada = await here.host()
            grace = await there.guest(ada.code, "Grace")
            assert (await ada.told("userJoined"))["user"]["name"] == "Grace"
            said = await grace.say("hello")
            assert (await ada.told("messageAdded"))["message"]["id"] == said
            assert await there.refused(ada.code, "Ada") == "nameTaken"
            await ada.send("leave")
            assert (await grace.told("hostChanged"))["hostName"] == "Grace"
            await grace.send("leave")
            assert (await grace.told("end"))["reason"] == "left"


async def test_a_server_is_killed(server: PartyServer, redis_server: RedisServer) -> None:
    """A host whose server was killed comes back at the other one as if nothing had been, and misses nothing."""
    with party_server(redis_server.url.replace("/0", "/8"), **_LONG) as dies:
        async with visiting(dies.host) as here, visiting(server.host) as there:
            ada = await here.host()
            grace = await there.guest(ada.code, "Grace")
            said = await ada.say("before")
            dies.kill()
            missed = await grace.say("missed")
            back = await there.guest(ada.code, "Ada", ada.key)
            await back.say("before", said)
            last = await back.say("after")
            assert names(back) == [("Ada", True), ("Grace", False)]
            assert [message["id"] for message in back.state["messages"]] == [said, missed]
            told = await grace.all_until("messageAdded")
            while told[-1]["message"]["id"] != last:
                told += await grace.all_until("messageAdded")
            assert {message["type"] for message in told} == {"messageAdded"}
            await back.send("close")
            assert (await grace.told("end"))["reason"] == "closed"


async def test_make_party(redis_server: RedisServer) -> None:
    """`make party` on Redis runs two workers at the address that it tells; guests of a killed one come back."""
    with party_by_make(redis_server.url.replace("/0", "/8"), **_LONG) as made:
        async with visiting(made.host) as party:
            ada = await party.host()
            pages = [ada, await party.guest(ada.code, "Grace"), await party.guest(ada.code, "Lin")]
            made.kill()
            for page in pages:
                back = await party.guest(ada.code, page.name, page.key)
                assert names(back) == [("Ada", True), ("Grace", False), ("Lin", False)]


async def test_the_page_is_whole(party: Party) -> None:
    """All that the page and its modules load is served from here; nothing comes from another server but YouTube."""
    async with http_client() as client:
        page = await client.get(f"http://{party.address}/")
        assert page.status_code == 200
        wanted = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
        for module in _STATIC.glob("*.js"):
            text = module.read_text()
            wanted |= {f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}
            assert set(re.findall(r"https?://[^\"`/]+", text)) <= {"https://www.youtube.com"}
        assert len(wanted) >= 8
        for path in wanted:
            assert (await client.get(f"http://{party.address}{path}")).status_code == 200, path
        assert (await client.get(f"http://{party.address}/healthz")).json() == {"status": "ok"}


def test_codes_can_be_read_out() -> None:
    """A code has six letters, none of which is taken for another."""
    assert not set("".join(identity.new_code() for _ in range(200))) & set("01IO")


def test_a_name_is_tidied() -> None:
    """What surrounds a name, and is between its words, is tidied."""
    assert identity.tidy_name("  Ada \n Lovelace ") == "Ada Lovelace"
    with pytest.raises(Refused):
        identity.tidy_name("\n")
