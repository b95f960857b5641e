"""Two real browsers in one room: in memory, and on Redis with a server process for each."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from playwright.async_api import expect

from browser_page import BRIEF, FREE, PHONE, Guests, Places, in_step, later, meet
from party_server import party_server
from proxy import proxy_to
from redis_server import redis_server
from waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


async def test_twomeet(guests: Guests, places: Places) -> None:
    """Each sees both, who is host, and what both say."""
    ada, grace, _ = await meet(guests, places)
    for guest in (ada, grace):
        await expect(guest.people).to_have_text(["Ada", "Grace"])
        await expect(guest.host).to_have_text("Ada")
    await ada.say("hello <b>Grace</b>")
    await expect(grace.said).to_have_text(["hello <b>Grace</b>"])
    await grace.say("hello Ada")
    for guest in (ada, grace):
        await expect(guest.said).to_have_text(["hello <b>Grace</b>", "hello Ada"])
        await expect(guest.waiting).to_have_count(0)


async def test_in_step(guests: Guests, places: Places) -> None:
    """Playing, after a jump and paused, both are at the same place within 300 ms; so is who comes later."""
    ada, grace, code = await meet(guests, places)
    await ada.watch_the_film()
    await expect(grace.by_id("playing")).to_have_text("Playing · Ada controls")
    await in_step(ada, grace)
    await ada.seek(300)
    for guest in (ada, grace):
        await expect(guest.time).to_have_text(later(5, 0))
    await in_step(ada, grace)
    lin = await guests.invite("Lin", PHONE)
    await lin.join(places.guest, code)
    await expect(lin.time).to_have_text(later(5, 0))
    await in_step(ada, grace, lin)
    await ada.play.click()
    await expect(grace.by_id("playing")).to_have_text("Paused · Ada controls")
    await expect(ada.play).to_have_text("Play")

    async def at_the_same_place() -> bool:
        positions = [await guest.page.evaluate("watchParty.position()") for guest in (ada, grace, lin)]
        return max(positions) - min(positions) < 0.05

    await wait_until(at_the_same_place)


async def test_the_host_hands_over(guests: Guests, places: Places) -> None:
    """When the host leaves, the other is host, is told so, and can control; the one who left is told of it."""
    ada, grace, _ = await meet(guests, places)
    await expect(grace.play).to_be_hidden()
    await ada.page.get_by_role("button", name="Leave").click()
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text("You have left the room")
    await expect(grace.host).to_have_text("Grace")
    await expect(grace.people).to_have_text(["Grace"])
    await expect(grace.news.last).to_have_text("You are the host now.")
    await grace.watch_the_film()


async def test_the_host_is_gone(guests: Guests) -> None:
    """When the host's page is closed and stays away, the other is host."""
    with party_server("memory://", **BRIEF) as server:
        ada, grace, _ = await meet(guests, Places(server.address, server.address))
        await ada.page.goto("about:blank")
        await expect(grace.host).to_have_text("Grace")


async def test_the_host_reloads(guests: Guests, places: Places) -> None:
    """A host who reloads the page is host again at once, without a word, and nobody is told of anything."""
    ada, grace, _ = await meet(guests, places)
    await ada.watch_the_film()
    await ada.page.reload()
    await expect(ada.host).to_have_text("Ada")
    await expect(ada.play).to_have_text("Pause")
    await in_step(ada, grace)
    await ada.say("still here")
    await expect(grace.said).to_have_text(["still here"])
    await expect(grace.news).to_have_text(["Another video was chosen."])


async def test_the_first_message_goes(guests: Guests, places: Places) -> None:
    """The 21st message pushes the first out, on both pages and for who comes later."""
    ada, grace, code = await meet(guests, places)
    texts = [f"message {number}" for number in range(1, 22)]
    await ada.say(*texts[:20])
    await expect(grace.said).to_have_text(texts[:20])
    await grace.say(texts[20])
    lin = await guests.invite("Lin")
    await lin.join(places.guest, code)
    for guest in (ada, grace, lin):
        await expect(guest.said).to_have_text(texts[1:])


async def test_a_server_dies(guests: Guests) -> None:
    """Guests of a server that is killed come back at the other one: nobody left, and each message is there once."""
    with ExitStack() as running:
        url = running.enter_context(redis_server()).url
        dies, stays = (running.enter_context(party_server(url, **FREE)) for _ in range(2))
        async with proxy_to(dies.port) as front:
            places = Places(f"http://127.0.0.1:{front.port}/", stays.address)
            ada, grace, _ = await meet(guests, places)
            await ada.watch_the_film()
            await ada.say("before")
            await expect(grace.said).to_have_text(["before"])
            await expect(ada.waiting).to_have_count(0)  # else it is said again when there is a connection
            dies.kill()
            await expect(ada.status).to_contain_text("No connection")
            await ada.say("said while away")
            await grace.say("missed")
            await expect(ada.waiting).to_have_count(1)
            front.target = stays.port
            await expect(ada.status).to_be_empty()
            for guest in (ada, grace):
                await expect(guest.said.filter(has_text="said while away")).to_have_count(1)
                await expect(guest.said).to_have_count(3)
                await expect(guest.waiting).to_have_count(0)
                await expect(guest.people).to_have_text(["Ada", "Grace"])
                await expect(guest.host).to_have_text("Ada")
            await expect(grace.news).to_have_text(["Another video was chosen."])
            await ada.seek(120)
            await expect(grace.time).to_have_text(later(2, 0))
            await in_step(ada, grace)


async def test_a_server_dies_with_its_guests(guests: Guests) -> None:
    """Guests of a server that is killed, and who do not come back, are gone after the grace; the next is host."""
    with ExitStack() as running:
        url = running.enter_context(redis_server()).url
        dies, stays = (running.enter_context(party_server(url, **BRIEF)) for _ in range(2))
        ada, grace, _ = await meet(guests, Places(dies.address, stays.address))
        dies.kill()
        await expect(ada.status).to_contain_text("No connection")
        await expect(grace.host).to_have_text("Grace")
        await expect(grace.people).to_have_text(["Grace"])


async def test_a_slow_network(guests: Guests, memory: str) -> None:
    """A guest whose network takes 0.6 s each way, and whose clock is an hour off, is in step all the same."""
    async with proxy_to(_port(memory), delay=0.6) as slow:
        ada, grace, _ = await meet(guests, Places(memory, f"http://127.0.0.1:{slow.port}/"))
        await grace.page.evaluate("() => { Date.now = () => 0; }")
        await ada.watch_the_film()
        await expect(grace.by_id("playing")).to_have_text("Playing · Ada controls")
        await in_step(ada, grace)


async def test_a_clock_jumps(guests: Guests, memory: str) -> None:
    """A guest whose machine slept for 5 seconds gets in step again, also where the network is slower than before."""
    async with proxy_to(_port(memory)) as front:
        ada, grace, _ = await meet(guests, Places(memory, f"http://127.0.0.1:{front.port}/"))
        await ada.watch_the_film()
        await ada.seek(100)
        await expect(grace.time).to_have_text(later(1, 40))
        await in_step(ada, grace)
        front.delay = 0.2
        await grace.page.evaluate("jump(-5000)")
        await in_step(ada, grace)


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1].strip("/"))
