"""Going, coming back, and the end of a room."""

from __future__ import annotations

from datetime import timedelta

from watch_party import identity

from party_page import Party, names, while_time_passes
from waiting import wait_until
from wnc_store import AppEvent, ManualClock, Room, Store, User


async def test_the_host_leaves(party: Party) -> None:
    """When the host leaves, the next one is host at once, and may control."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("leave")
    assert (await ada.told("end"))["reason"] == "left"
    assert (await grace.told("userLeft"))["user"]["name"] == "Ada"
    assert (await grace.told("hostChanged"))["hostName"] == "Grace"
    await grace.send("watch", url=identity.TEST_FILM)
    assert (await grace.told("videoSet"))["videoType"] == "film"


async def test_the_host_is_lost(party: Party, clock: ManualClock) -> None:
    """A host whose socket is closed and does not come back within the grace is host no more."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.vanish()
    assert (await while_time_passes(clock, grace.told("userLeft")))["user"]["name"] == "Ada"
    assert (await grace.told("hostChanged"))["hostName"] == "Grace"


async def test_the_host_reloads(party: Party, clock: ManualClock) -> None:
    """A host who comes back within the grace stays host, and nobody hears of it."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    lin = await party.guest(ada.code, "Lin")
    await ada.vanish()
    back = await party.guest(ada.code, "Ada", ada.key)
    assert names(back) == [("Ada", True), ("Grace", False), ("Lin", False)]
    await lin.vanish()  # after the host: when Lin is gone, the host would be
    on_message = await while_time_passes(clock, grace.all_until("userLeft"))
    assert [message["user"]["name"] for message in on_message if "user" in message] == ["Lin", "Lin"]
    assert not [message for message in on_message if message["type"] == "hostChanged"]


async def test_the_maker_comes_back(party: Party, clock: ManualClock) -> None:
    """Who made the room and comes back after the grace proves it with the host token, and is host again."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.vanish()
    await while_time_passes(clock, grace.told("hostChanged"))
    back = await party.guest(ada.code, "Ada", ada.key)
    assert names(back) == [("Grace", False), ("Ada", True)]
    assert (await grace.told("hostChanged"))["hostName"] == "Ada"


async def test_the_maker_comes_back_in_one_step(party: Party, store: Store, clock: ManualClock) -> None:
    """Who made the room is in it again and its host by one commit: nothing can come between."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.vanish()
    await while_time_passes(clock, grace.told("hostChanged"))
    before = await store.rooms.get_room(ada.code)
    assert before is not None
    await party.guest(ada.code, "Ada", ada.key)
    joined, changed = await grace.told("userJoined"), await grace.told("hostChanged")
    assert joined["rev"] == changed["rev"] == before.rev + 1


async def test_two_tabs(party: Party) -> None:
    """A user with two sockets stays when one of them leaves."""
    ada = await party.host()
    second = await party.guest(ada.code, "Ada", ada.key)
    await second.send("leave")
    await second.told("end")
    grace = await party.guest(ada.code, "Grace")
    assert names(grace) == [("Ada", True), ("Grace", False)]


async def test_the_last_one_leaves(party: Party, store: Store, clock: ManualClock) -> None:
    """When the last one is lost, the room goes, after the grace."""
    ada = await party.host()
    await ada.vanish()

    async def is_gone() -> bool:
        return not await store.rooms.room_exists(ada.code)

    await while_time_passes(clock, wait_until(is_gone))
    assert await party.refused(ada.code, "Grace") == "noRoom"


async def test_taken_for_away(party: Party, store: Store) -> None:
    """A user who was taken out of the room while the page is open enters again."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await store.rooms.remove_user_from_room(ada.code, grace.state["you"])
    await grace.told("state")
    assert names(grace) == [("Ada", True), ("Grace", False)]


async def test_ghosts(party: Party, store: Store, clock: ManualClock) -> None:
    """Users whose worker died with nobody left to look after them are gone when the next guest has come."""
    ghost = User(id="ghost", name="Ghost")
    await store.rooms.create_room(Room.hosted_by(ghost, room_id="GHOSTS"))
    grace = await party.guest("GHOSTS", "Grace")
    assert (await while_time_passes(clock, grace.told("userLeft")))["user"]["id"] == "ghost"
    assert (await grace.told("hostChanged"))["hostName"] == "Grace"


async def test_all_servers_were_away(party: Party, store: Store) -> None:
    """Who has no lease when the first guest is back, because no server was there to renew it, has the grace to come."""
    ada = await party.open("Ada")
    user = User(id=identity.user_id_of(ada.key), name="Ada")
    await store.rooms.create_room(Room.hosted_by(user, room_id="REOPEN"))
    grace = await party.guest("REOPEN", "Grace")
    for number in range(20):  # the server looks at the room at once; each answer comes after some of its steps
        await grace.send("ping", sent=number)
        await grace.told("pong")
    await ada.enter("REOPEN")
    await ada.told("state")
    assert names(ada) == [("Ada", True), ("Grace", False)]


async def test_the_host_closes_the_room(party: Party) -> None:
    """When the host ends the party, all are told, and the sockets are closed."""
    ada = await party.host()
    grace = await party.guest(ada.code, "Grace")
    await ada.send("close")
    for page in (ada, grace):
        assert (await page.told("end"))["reason"] == "closed"
        assert await page.closed() == 1000
    assert await party.refused(ada.code, "Lin") == "noRoom"


async def test_the_room_expires(party: Party, clock: ManualClock) -> None:
    """When nobody changed anything for the room's TTL, all are told that it has expired."""
    ada = await party.host()
    clock.advance(timedelta(hours=24))
    assert (await ada.told("end"))["reason"] == "expired"


async def test_an_end_that_is_none(party: Party, store: Store) -> None:
    """An event of an end that was another room's, of the same code, ends nothing."""
    ada = await party.host()
    await store.events.publish(ada.code, AppEvent(room_id=ada.code, name="expired"))
    await ada.say("still here")
