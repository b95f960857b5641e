"""Reactions to messages, and the deletion of messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from watch_party import identity
from watch_party.messages import REACTIONS

from party_page import Party, visiting
from party_server import PartyServer, party_server
from redis_server import RedisServer
from wnc_store import ChatMessage, Store


@pytest.fixture(scope="module")
def servers(redis_server: RedisServer) -> Iterator[tuple[PartyServer, PartyServer]]:
    """Two servers on Redis."""
    url, settings = redis_server.url.replace("/0", "/9"), {"WNC_STORE_CONNECTION_TTL": "600"}
    with party_server(url, **settings) as first, party_server(url, **settings) as second:
        yield first, second


async def test_a_reaction_is_shared(party: Party) -> None:
    """All pages receive a reaction, late guests see it, and it can be withdrawn."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    message_id = await ada.say("hello")
    await grace.send("react", id=message_id, emoji="👍", on=True)
    message = (await ada.receive("messageChanged"))["message"]
    assert (message["id"], message["message"]) == (message_id, "hello")
    assert message["reactions"] == {"👍": [grace.state["you"]]}
    lin = await party.guest(ada.code, "Lin")
    assert lin.state["messages"] == [message]
    assert lin.state["reactions"] == REACTIONS
    await grace.send("react", id=message_id, emoji="👍", on=False)
    assert (await ada.receive("messageChanged"))["message"]["reactions"] == {}


async def test_a_message_is_deleted(party: Party) -> None:
    """All pages receive that a guest has deleted a message, and late guests do not see it."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    message_id, kept = await grace.say("oops"), await grace.say("hello")
    await grace.send("delete", id=message_id)
    assert (await ada.receive("messageRemoved"))["messageId"] == message_id
    lin = await party.guest(ada.code, "Lin")
    assert [message["id"] for message in lin.state["messages"]] == [kept]


async def test_only_own_messages_can_be_deleted(party: Party, store: Store) -> None:
    """A guest cannot delete a message of another guest, not even as the host, or one that does not exist."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    message_id = await grace.say("hello")
    for unknown in (message_id, "unknown"):
        await ada.send("delete", id=unknown)
    await ada.say("still here")
    assert [message.message for message in await store.chat.get_messages(ada.code)] == ["hello", "still here"]


async def test_a_reaction_to_a_missing_message(party: Party) -> None:
    """A reaction to a message that does not exist any more changes nothing, and the socket stays open."""
    ada = await party.host()
    await ada.send("react", id="unknown", emoji="👍", on=True)
    await ada.say("still here")
    assert [message["message"] for message in (await party.guest(ada.code, "Grace")).state["messages"]] == [
        "still here"
    ]


async def test_an_unknown_reaction(party: Party) -> None:
    """A reaction with any other text than one of the emojis closes the socket with code 1008."""
    ada = await party.host()
    await ada.send("react", id=await ada.say("hello"), emoji="<b>", on=True)
    assert await ada.closed() == 1008


async def test_the_chat_is_cleared(party: Party, store: Store) -> None:
    """All pages receive that the chat was cleared."""
    ada = await party.host()
    await ada.say("hello")
    await store.chat.clear_messages(ada.code)
    await ada.receive("messagesCleared")


async def test_reactions_on_two_servers(servers: tuple[PartyServer, PartyServer]) -> None:
    """On Redis, a reaction and a deletion reach the pages of another server."""
    async with visiting(servers[0].host) as first, visiting(servers[1].host) as second:
        ada = await first.host()
        grace = await second.guest(ada.code, "Grace")
        message_id = await grace.say("hello")
        await ada.send("react", id=message_id, emoji="🎉", on=True)
        changed = (await grace.receive("messageChanged"))["message"]
        assert changed["reactions"] == {"🎉": [ada.state["you"]]}
        await grace.send("delete", id=message_id)
        assert (await ada.receive("messageRemoved"))["messageId"] == message_id


def _message(**fields: object) -> ChatMessage:
    message = ChatMessage(id="1", room_id="R", user_id="u", user_name="Ada", message="hello")
    return message.model_copy(update=fields)


def test_a_user_reacts_once() -> None:
    """A user has at most one reaction with the same emoji, and keeps the place of the other users."""
    message = _message(reactions={"👍": ["a", "b"]})
    for _ in range(2):
        message = identity.react(message, user_id="c", emoji="👍", on=True)
    assert message.to_json()["reactions"] == {"👍": ["a", "b", "c"]}


def test_other_reactions_are_kept() -> None:
    """A withdrawn reaction leaves the other emojis, the other users and the other fields unchanged."""
    message = _message(reactions={"👍": ["a", "b"], "🎉": ["a"]}, color="red")
    message = identity.react(message, user_id="a", emoji="👍", on=False)
    assert message.to_json()["reactions"] == {"🎉": ["a"], "👍": ["b"]}
    assert message.to_json()["color"] == "red"


def test_the_number_of_reactions_is_limited() -> None:
    """A message with the maximum number of reactions accepts no other, and a withdrawn one makes room for another."""
    full = _message(reactions={"👍": [str(number) for number in range(identity.MAX_REACTIONS)]})
    assert (
        identity.react(full, user_id="new", emoji="🎉", on=True).to_json()["reactions"] == full.to_json()["reactions"]
    )
    fewer = identity.react(full, user_id="0", emoji="👍", on=False)
    assert "🎉" in identity.react(fewer, user_id="new", emoji="🎉", on=True).model_extra["reactions"]
