"""Leaving, returning, and the end of a room."""

from __future__ import annotations

from datetime import timedelta

from watch_party import identity

from party_page import Party, names, while_clock_advances
from waiting import wait_until
from wnc_store import AppEvent, ManualClock, Room, Store, User
from wnc_store.presence import tracked


async def test_the_host_leaves(party: Party) -> None:
    """When the host leaves, the next user becomes the host immediately and can control the video."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("leave")
    assert (await ada.receive("end"))["reason"] == "left"
    assert (await grace.receive("userLeft"))["user"]["name"] == "Ada"
    assert (await grace.receive("hostChanged"))["hostName"] == "Grace"
    await grace.send("watch", url=identity.TEST_FILM)
    assert (await grace.receive("videoSet"))["videoType"] == "film"


async def test_the_host_reloads(party: Party, clock: ManualClock) -> None:
    """A host who reconnects within the grace period stays the host, and the other pages receive no event."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    lin = await party.guest(ada.code, "Lin")
    await ada.disconnect()
    back = await party.guest(ada.code, "Ada", ada.key)
    assert names(back) == [("Ada", True), ("Grace", False), ("Lin", False)]
    await lin.disconnect()  # after the host, so the host would have been removed before Lin
    messages = await while_clock_advances(clock, grace.receive_until("userLeft"))
    assert [message["user"]["name"] for message in messages if "user" in message] == ["Lin", "Lin"]
    assert not [message for message in messages if message["type"] == "hostChanged"]


async def test_the_creator_returns(party: Party, store: Store, clock: ManualClock) -> None:
    """After the grace period, one commit adds the creator again as host, because the key is the host token."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.disconnect()
    await while_clock_advances(clock, grace.receive("hostChanged"))
    before = await store.rooms.get_room(ada.code)
    assert before is not None
    back = await party.guest(ada.code, "Ada", ada.key)
    assert names(back) == [("Grace", False), ("Ada", True)]
    joined, changed = await grace.receive("userJoined"), await grace.receive("hostChanged")
    assert joined["rev"] == changed["rev"] == before.rev + 1


async def test_two_tabs(party: Party) -> None:
    """A user with two sockets stays in the room when one socket leaves."""
    ada = await party.host()
    second = await party.guest(ada.code, "Ada", ada.key)
    await second.send("leave")
    await second.receive("end")
    grace = await party.guest(ada.code, "Grace")
    assert names(grace) == [("Ada", True), ("Grace", False)]


async def test_the_last_user_disconnects(party: Party, store: Store, clock: ManualClock) -> None:
    """The room is deleted when its last user does not reconnect within the grace period."""
    ada = await party.host()
    await ada.disconnect()

    async def is_deleted() -> bool:
        return not await store.rooms.room_exists(ada.code)

    await while_clock_advances(clock, wait_until(is_deleted))
    assert await party.join_rejected(ada.code, "Grace") == "noRoom"


async def test_a_connected_user_is_removed(party: Party, store: Store) -> None:
    """A user who is removed from the room while the page is open joins again."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await store.rooms.remove_user_from_room(ada.code, grace.state["you"])
    await grace.receive("state")
    assert names(grace) == [("Ada", True), ("Grace", False)]


async def test_users_of_a_dead_worker(party: Party, store: Store, clock: ManualClock) -> None:
    """Users without a lease, whose worker died, are removed."""
    ghost = tracked(User(id="ghost", name="Ghost"))
    await store.rooms.create_room(Room.hosted_by(ghost, room_id="GHOSTS"))
    grace = await party.guest("GHOSTS", "Grace")
    assert (await while_clock_advances(clock, grace.receive("userLeft")))["user"]["id"] == "ghost"
    assert (await grace.receive("hostChanged"))["hostName"] == "Grace"


async def test_all_servers_were_down(party: Party, store: Store) -> None:
    """After all servers were down, users without a lease have the grace period to reconnect."""
    ada = await party.open("Ada")
    user = tracked(User(id=identity.user_id_for_key(ada.key), name="Ada"))
    await store.rooms.create_room(Room.hosted_by(user, room_id="REOPEN"))
    grace = await party.guest("REOPEN", "Grace")
    for number in range(20):  # each reply gives the server time to check the room
        await grace.send("ping", sent=number)
        await grace.receive("pong")
    await ada.send_hello("REOPEN")
    await ada.receive("state")
    assert names(ada) == [("Ada", True), ("Grace", False)]


async def test_the_host_closes_the_room(party: Party) -> None:
    """When the host ends the party, every page receives the end, and its socket is closed."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("close")
    for page in (ada, grace):
        assert (await page.receive("end"))["reason"] == "closed"
        assert await page.closed() == 1000
    assert await party.join_rejected(ada.code, "Lin") == "noRoom"


async def test_the_room_expires(party: Party, clock: ManualClock) -> None:
    """When the room's TTL ends, the page receives that the room has expired."""
    ada = await party.host()
    clock.advance(timedelta(hours=24))
    assert (await ada.receive("end"))["reason"] == "expired"


async def test_an_outdated_end(party: Party, store: Store) -> None:
    """An event about the end of an earlier room with the same code is ignored."""
    ada = await party.host()
    await store.events.publish(ada.code, AppEvent(room_id=ada.code, name="expired"))
    await ada.say("still here")
