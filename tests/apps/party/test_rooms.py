"""Joining a room without a browser, its video and its chat."""

from __future__ import annotations

import re

import pytest
from watch_party import identity
from watch_party.app import app

from party_page import Party, names
from wnc_store import ChatMessage, ManualClock, Store

_YOUTUBE = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"


async def test_a_room_is_created(party: Party, store: Store) -> None:
    """The creator of a room gets its code and is its host, and the state contains no secrets."""
    ada = await party.host()
    assert re.fullmatch("[A-Z2-9]{6}", ada.code)
    assert names(ada) == [("Ada", True)]
    assert ada.state["you"] == ada.state["room"]["hostId"]
    assert ada.key not in str(ada.state)
    room = await store.rooms.get_room(ada.code)
    assert room is not None
    assert room.verify_host_token(ada.key)


async def test_a_code_is_chosen(party: Party) -> None:
    """The creator of a room can choose its code, and can repeat the request after a lost reply."""
    ada = await party.open("Ada")
    await ada.send("create", name="Ada", key=ada.key, room="MOVIE-NIGHT")
    await ada.receive("state")
    assert (ada.code, names(ada)) == ("MOVIE-NIGHT", [("Ada", True)])
    again = await party.open("Ada", ada.key)
    await again.send("create", name="Ada", key=ada.key, room="MOVIE-NIGHT")
    await again.receive("state")
    assert names(again) == [("Ada", True)]


async def test_a_chosen_code_is_taken(party: Party, store: Store) -> None:
    """A room cannot be created with the code of another user's room, which stays unchanged."""
    ada = await party.host()
    before = await store.rooms.get_room(ada.code)
    eve = await party.open("Eve")
    await eve.send("create", name="Eve", key=eve.key, room=ada.code)
    assert (await eve.receive("end"))["reason"] == "codeTaken"
    assert await store.rooms.get_room(ada.code) == before


@pytest.mark.parametrize("code", ["ABC", "X" * 33, "movie", "MOVIE NIGHT", "MOVIE\n", "../ETC", "\u0410BCD"])
async def test_an_invalid_chosen_code(party: Party, code: str) -> None:
    """A room cannot be created with a code that guests could not type, or that is too short or too long."""
    eve = await party.open("Eve")
    await eve.send("create", name="Eve", key=eve.key, room=code)
    assert (await eve.receive("end"))["reason"] == "badCode"


async def test_a_guest_joins(party: Party) -> None:
    """A guest receives all users of the room, and those receive the join of the guest."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert names(grace) == [("Ada", True), ("Grace", False)]
    assert (await ada.receive("userJoined"))["user"]["name"] == "Grace"
    assert ada.key not in str(grace.state)


async def test_half_an_emoji_is_shown(party: Party, store: Store) -> None:
    """A guest receives a room and a message in which another writer has cut an emoji in half."""
    ada = await party.host()
    await store.rooms.set_video_url(ada.code, "https://video.example/\ud83d")
    await store.chat.add_message(ChatMessage(room_id=ada.code, user_id="u", user_name="Node", message="cut \ud83d"))
    assert (await ada.receive("messageAdded"))["message"]["message"] == "cut \ud83d"
    grace = await party.guest(ada.code, "Grace")
    assert grace.state["room"]["videoUrl"] == "https://video.example/\ud83d"
    assert grace.state["messages"][0]["message"] == "cut \ud83d"


@pytest.mark.parametrize("field", ["name", "key", "room"])
async def test_half_an_emoji_in_a_request_is_rejected(party: Party, field: str) -> None:
    """A request with half an emoji ends the connection with code 1008, without an error of the server."""
    ada = await party.host()
    eve = await party.open("Eve")
    await eve.send("join", **{"name": "Eve", "key": eve.key, "room": ada.code, field: "cut \ud83d"})
    assert await eve.closed() == 1008


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
async def test_a_used_name_is_rejected(party: Party, name: str) -> None:
    """A guest cannot use the name of another user, or a name that looks the same."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert await party.join_rejected(ada.code, name) == "nameTaken"
    await grace.disconnect()
    assert await party.join_rejected(ada.code, name) == "nameTaken"


@pytest.mark.parametrize("name", ["\u202eecarG", "\u2067\u202eecarG\u202c\u2069"])
async def test_a_name_is_not_reversed(party: Party, name: str) -> None:
    """Control characters that would display a name in reverse order are removed."""
    ada = await party.host()
    eve = await party.guest(ada.code, name)
    assert names(eve) == [("Ada", True), ("ecarG", False)]


async def test_a_user_keeps_the_first_name(party: Party) -> None:
    """A user who connects again with another name keeps the name of the first join."""
    ada = await party.host()
    eve = await party.guest(ada.code, "Eve")
    await (await party.guest(ada.code, "Ada", eve.key)).say("I am Ada")
    assert (await ada.receive("messageAdded"))["message"]["userName"] == "Eve"


async def test_an_id_cannot_be_chosen(party: Party) -> None:
    """A user's id is derived from the key, and a request with an id is rejected."""
    ada = await party.host()
    eve = await party.open("Eve")
    await eve.send("join", name="Eve", key=eve.key, room=ada.code, id=ada.state["you"])
    assert await eve.closed() == 1008
    assert identity.user_id_for_key(eve.key) != ada.state["you"] == identity.user_id_for_key(ada.key)


async def test_a_full_room(party: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only users who are in a full room can join it."""
    monkeypatch.setattr(app.state, "settings", app.state.settings.model_copy(update={"max_users_per_room": 2}))
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    assert await party.join_rejected(ada.code, "Lin") == "full"
    assert names(await party.guest(ada.code, "Grace", grace.key)) == [("Ada", True), ("Grace", False)]


@pytest.mark.parametrize("code", ["NOROOM", "", "no room", "x" * 128, "../etc"])
async def test_an_unknown_code(party: Party, code: str) -> None:
    """A join with an unknown or invalid code is rejected with `noRoom`."""
    assert await party.join_rejected(code, "Grace") == "noRoom"


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "\u3164", "\u2800", "x" * 41])
async def test_an_invalid_name_is_rejected(party: Party, name: str) -> None:
    """A name that is invisible or too long is rejected."""
    ada = await party.host()
    assert await party.join_rejected(ada.code, name) == "badName"


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"type": "say"}', '{"type": "join", "name": "x"}'])
async def test_an_invalid_message_closes_the_socket(party: Party, text: str) -> None:
    """An invalid message closes its socket with code 1008, before and after joining, and no other socket."""
    ada = await party.host()
    eve = await party.open("Eve")
    await eve._socket.send(text)
    assert await eve.closed() == 1008
    grace = await party.guest(ada.code, "Grace")
    await grace._socket.send(text.encode())
    assert await grace.closed() == 1008
    await ada.say("still here")


async def test_the_video_is_shared(party: Party, clock: ManualClock) -> None:
    """All pages, including those of late guests, receive the host's video and playback with the server's time."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("watch", url=_YOUTUBE)
    chosen = await grace.receive("videoSet")
    assert (chosen["videoUrl"], chosen["videoType"]) == (_YOUTUBE, "youtube")
    await ada.send("play", playing=True, position=12.5, duration=213)
    for page in (ada, grace):
        state = (await page.receive("videoStateChanged"))["videoState"]
        assert (state["isPlaying"], state["currentTime"], state["duration"]) == (True, 12.5, 213)
        assert state["lastUpdateTime"] == clock.now_ms()
    lin = await party.guest(ada.code, "Lin")
    assert lin.state["room"]["videoState"] == state


async def test_playback_requests_accumulate(party: Party, clock: ManualClock) -> None:
    """Each playback request changes only its own fields: play, then seek, then pause at the new position."""
    ada = await party.host()
    await ada.send("play", playing=True, duration=600)
    await ada.send("play", position=100)
    states = [(await ada.receive("videoStateChanged"))["videoState"] for _ in range(2)]
    clock.advance(2.5)
    await ada.send("play", playing=False)
    states.append((await ada.receive("videoStateChanged"))["videoState"])
    assert [state["isPlaying"] for state in states] == [True, True, False]
    assert [state["currentTime"] for state in states] == [0, 100, 102.5]
    await ada.send("play", position=1000)
    assert (await ada.receive("videoStateChanged"))["videoState"]["currentTime"] == 600


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("watch", {"url": identity.TEST_FILM}), ("play", {"playing": True, "position": 0, "duration": 1}), ("close", {})],
)
async def test_only_the_host_controls(party: Party, store: Store, kind: str, fields: dict[str, object]) -> None:
    """A host request from a guest is rejected and changes nothing."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    before = await store.rooms.get_room(ada.code)
    await grace.send(kind, **fields)
    assert (await grace.receive("rejected"))["reason"] == "notHost"
    assert await store.rooms.get_room(ada.code) == before


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("javascript:alert(1)", "badVideo"),
        ("file:///etc/passwd", "badVideo"),
        ("nonsense", "badVideo"),
        ("https://", "badVideo"),
        ("http://[", "badVideo"),
        ("https://youtube.com:x/watch?v=dQw4w9WgXcQ", "badVideo"),
        ("", "badVideo"),
        ("https://video.example/page", "notVideo"),
        ("https://www.youtube.com/@channel", "notVideo"),
        ("https://www.youtube.com/watch?v=too-short", "notVideo"),
        ("https://youtu.be/", "notVideo"),
        ("https://notyoutube.com/watch?v=dQw4w9WgXcQ", "notVideo"),
    ],
)
async def test_a_link_is_no_video(party: Party, store: Store, url: str, reason: str) -> None:
    """A link that is not a video is rejected, and the room keeps its video."""
    ada = await party.host()
    before = await store.rooms.get_room(ada.code)
    await ada.send("watch", url=url)
    assert (await ada.receive("rejected"))["reason"] == reason
    assert await store.rooms.get_room(ada.code) == before


@pytest.mark.parametrize(
    ("url", "video"),
    [
        (_YOUTUBE, (_YOUTUBE, "youtube")),
        ("https://youtu.be/dQw4w9WgXcQ?t=3", (_YOUTUBE, "youtube")),
        ("https://m.youtube.com/watch?list=x&v=dQw4w9WgXcQ", (_YOUTUBE, "youtube")),
        ("https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ", (_YOUTUBE, "youtube")),
        ("https://youtube.com/shorts/dQw4w9WgXcQ?v=other", (_YOUTUBE, "youtube")),
        ("https://video.example/film.MP4?x=1", ("https://video.example/film.MP4?x=1", "file")),
        (identity.TEST_FILM, (identity.TEST_FILM, "film")),
    ],
)
def test_the_type_of_a_video(url: str, video: tuple[str, str]) -> None:
    """All links to a YouTube video give one URL, and the file extension of another link determines its player."""
    assert identity.find_video(url) == video


async def test_the_time(party: Party, clock: ManualClock) -> None:
    """A pong repeats the timestamp of the ping and contains the server's time in milliseconds."""
    ada = await party.host()
    await ada.send("ping", sent=1234.5)
    assert await ada.receive("pong") == {"type": "pong", "sent": 1234.5, "now": clock.now_ms()}


async def test_a_message_is_shared(party: Party) -> None:
    """All pages receive a message, including those of late guests."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    message_id = await grace.say("<b>hello</b>")
    message = (await ada.receive("messageAdded"))["message"]
    assert (message["id"], message["userName"], message["message"]) == (message_id, "Grace", "<b>hello</b>")
    lin = await party.guest(ada.code, "Lin")
    assert (lin.state["messages"], lin.state["historyLimit"]) == ([message], 20)


async def test_a_message_is_resent(party: Party) -> None:
    """A message that is sent twice with the same id is confirmed twice and stored once."""
    ada = await party.host()
    message_id = await ada.say("hello")
    reconnected = await party.guest(ada.code, "Ada", ada.key)
    assert await reconnected.say("hello", message_id) == message_id
    assert [message["id"] for message in (await party.guest(ada.code, "Grace")).state["messages"]] == [message_id]


async def test_typing_is_shared(party: Party) -> None:
    """All pages receive that a guest is writing, with the guest's id."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await grace.send("typing")
    event = await ada.receive("appEvent")
    assert (event["name"], event["value"]) == ("typing", {"userId": grace.state["you"]})
