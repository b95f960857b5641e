"""Coming into a room without a browser, its video and its chat."""

from __future__ import annotations

import re

import pytest
from watch_party import identity
from watch_party.app import app

from party_page import Party, names
from wnc_store import ManualClock, Store


async def test_a_room_is_created(party: Party, store: Store) -> None:
    """Who creates a room gets its code, is its host, and sees no secret in what is told."""
    ada = await party.host()
    assert re.fullmatch("[A-Z2-9]{6}", ada.code)
    assert names(ada) == [("Ada", True)]
    assert ada.state["you"] == ada.state["room"]["hostId"]
    assert ada.key not in str(ada.state)
    room = await store.rooms.get_room(ada.code)
    assert room is not None
    assert room.verify_host_token(ada.key)


async def test_a_guest_comes_in(party: Party) -> None:
    """A guest sees all who are there, and those are told of the guest."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert names(grace) == [("Ada", True), ("Grace", False)]
    assert (await ada.told("userJoined"))["user"]["name"] == "Grace"
    assert ada.key not in str(grace.state)


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "ADA",
        " A\u200bda ",
        "\uff21da",
        "Grace",
        "Gra\u034fce",
        "Gr\u3164ace",
        "Grace\ufe0f",
        "\u202dGrace\u202c",
    ],
)
async def test_a_copycat_is_refused(party: Party, name: str) -> None:
    """Nobody else can have the name of the host or of a guest, or one that looks just like it."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert await party.refused(ada.code, name) == "nameTaken"
    await grace.vanish()
    assert await party.refused(ada.code, name) == "nameTaken"


@pytest.mark.parametrize("turned", ["\u202eecarG", "\u2067\u202eecarG\u202c\u2069"])
async def test_a_name_is_not_turned_round(party: Party, turned: str) -> None:
    """Letters are seen in their order: what would turn them round, so that they read as another's name, is left out."""
    ada = await party.host()
    eve = await party.guest(ada.code, turned)
    assert names(eve) == [("Ada", True), ("ecarG", False)]


async def test_a_copycat_is_in_already(party: Party) -> None:
    """Who is in the room and comes again under another's name speaks by the name that was let in."""
    ada = await party.host()
    eve = await party.guest(ada.code, "Eve")
    await (await party.guest(ada.code, "Ada", eve.key)).say("I am Ada")
    assert (await ada.told("messageAdded"))["message"]["userName"] == "Eve"


async def test_nobody_names_an_id(party: Party) -> None:
    """A page can't say which user it is: the id comes from the key, and a page that tries is not understood."""
    ada = await party.host()
    eve = await party.open("Eve")
    await eve.send("join", name="Eve", key=eve.key, room=ada.code, id=ada.state["you"])
    assert await eve.closed() == 1008
    assert identity.user_id_of(eve.key) != ada.state["you"] == identity.user_id_of(ada.key)


async def test_a_full_room(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes into a full room, but for who is in it."""
    monkeypatch.setattr(app.state, "settings", app.state.settings.model_copy(update={"max_users_per_room": 2}))
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert await party.refused(ada.code, "Lin") == "full"
    assert names(await party.guest(ada.code, "Grace", grace.key)) == [("Ada", True), ("Grace", False)]


@pytest.mark.parametrize("code", ["NOROOM", "", "no room", "x" * 128, "../etc"])
async def test_there_is_no_such_room(party: Party, code: str) -> None:
    """A code that no room has is answered with that."""
    assert await party.refused(code, "Grace") == "noRoom"


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "\u3164", "\u2800", "x" * 41])
async def test_a_name_must_be_seen(party: Party, name: str) -> None:
    """A name that shows nothing, or is too long, is refused."""
    ada = await party.host()
    assert await party.refused(ada.code, name) == "badName"


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"type": "say"}', '{"type": "join", "name": "x"}'])
async def test_nonsense(party: Party, text: str) -> None:
    """What is no message closes the socket, at the door and inside, and nobody else notices."""
    ada = await party.host()
    eve = await party.open("Eve")
    await eve._socket.send(text)
    assert await eve.closed() == 1008
    grace = await party.guest(ada.code, "Grace")
    await grace._socket.send(text.encode())
    assert await grace.closed() == 1008
    await ada.say("still here")


async def test_the_video_runs_for_all(party: Party, clock: ManualClock) -> None:
    """What the host chooses, plays and seeks is told to all, with the server's time, and to who comes later."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("watch", url="https://youtu.be/dQw4w9WgXcQ")
    chosen = await grace.told("videoSet")
    assert (chosen["videoUrl"], chosen["videoType"]) == ("https://youtu.be/dQw4w9WgXcQ", "youtube")
    await ada.send("play", playing=True, position=12.5, duration=213)
    for page in (ada, grace):
        state = (await page.told("videoStateChanged"))["videoState"]
        assert (state["isPlaying"], state["currentTime"], state["duration"]) == (True, 12.5, 213)
        assert state["lastUpdateTime"] == clock.now_ms()
    lin = await party.guest(ada.code, "Lin")
    assert lin.state["room"]["videoState"] == state


async def test_wishes_add_up(party: Party, clock: ManualClock) -> None:
    """Wishes that come one right after the other all count: to play, then to be elsewhere, then to pause there."""
    ada = await party.host()
    await ada.send("play", playing=True, duration=600)
    await ada.send("play", position=100)
    states = [(await ada.told("videoStateChanged"))["videoState"] for _ in range(2)]
    clock.advance(2.5)
    await ada.send("play", playing=False)
    states.append((await ada.told("videoStateChanged"))["videoState"])
    assert [state["isPlaying"] for state in states] == [True, True, False]
    assert [state["currentTime"] for state in states] == [0, 100, 102.5]
    await ada.send("play", position=1000)
    assert (await ada.told("videoStateChanged"))["videoState"]["currentTime"] == 600


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("watch", {"url": identity.TEST_FILM}), ("play", {"playing": True, "position": 0, "duration": 1}), ("close", {})],
)
async def test_only_the_host_controls(party: Party, store: Store, kind: str, fields: dict[str, object]) -> None:
    """What only the host may do is refused to a guest, and changes nothing."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    before = await store.rooms.get_room(ada.code)
    await grace.send(kind, **fields)
    assert (await grace.told("refused"))["reason"] == "notHost"
    assert await store.rooms.get_room(ada.code) == before


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "nonsense", "https://", "http://[", ""])
async def test_what_is_no_video(party: Party, url: str) -> None:
    """A link that leads to no video is refused."""
    ada = await party.host()
    await ada.send("watch", url=url)
    assert (await ada.told("refused"))["reason"] == "badVideo"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", "youtube"),
        ("https://youtu.be/dQw4w9WgXcQ", "youtube"),
        ("https://notyoutube.com/watch?v=dQw4w9WgXcQ", "film"),
        ("https://video.example/film.MP4?x=1", "file"),
        ("https://video.example/page", "film"),
        (identity.TEST_FILM, "film"),
    ],
)
def test_the_kind_of_a_video(url: str, kind: str) -> None:
    """A link's host, or the end of its path, says which player it needs."""
    assert identity.kind_of_video(url) == kind


async def test_the_time(party: Party, clock: ManualClock) -> None:
    """A ping is answered with what it brought, and the server's time in milliseconds."""
    ada = await party.host()
    await ada.send("ping", sent=1234.5)
    assert await ada.told("pong") == {"type": "pong", "sent": 1234.5, "now": clock.now_ms()}


async def test_what_is_said(party: Party) -> None:
    """A message is told to all, and to who comes later."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    said = await grace.say("<b>hello</b>")
    told = (await ada.told("messageAdded"))["message"]
    assert (told["id"], told["userName"], told["message"]) == (said, "Grace", "<b>hello</b>")
    lin = await party.guest(ada.code, "Lin")
    assert lin.state["messages"] == [told]


async def test_said_again(party: Party) -> None:
    """A message that is sent again with its id is answered again, and is there once."""
    ada = await party.host()
    said = await ada.say("hello")
    back = await party.guest(ada.code, "Ada", ada.key)
    assert await back.say("hello", said) == said
    assert [message["id"] for message in (await party.guest(ada.code, "Grace")).state["messages"]] == [said]


async def test_the_oldest_go(party: Party) -> None:
    """The 21st message pushes the first out."""
    ada = await party.host()
    ids = [await ada.say(f"message {number}") for number in range(21)]
    grace = await party.guest(ada.code, "Grace")
    assert [message["id"] for message in grace.state["messages"]] == ids[1:]
    assert grace.state["kept"] == 20
