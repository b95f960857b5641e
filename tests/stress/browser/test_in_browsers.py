"""Two real browsers in one room, with one server in memory or two servers on Redis."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from playwright.async_api import expect

from browser_page import BRIEF, FREE, PHONE, Guests, Places, later, meet, wait_until_in_sync
from party_server import party_server
from proxy import proxy_to
from redis_server import redis_server
from waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


async def test_two_guests_meet(guests: Guests, places: Places) -> None:
    """Both pages show both users, the host and the messages of both."""
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


async def test_videos_are_in_sync(guests: Guests, places: Places) -> None:
    """While playing, after a seek and while paused, all videos are within 300 ms, including that of a late guest."""
    ada, grace, code = await meet(guests, places)
    await ada.watch_the_film()
    await expect(grace.by_id("playing")).to_have_text("Playing · Ada controls")
    await wait_until_in_sync(ada, grace)
    await ada.seek(300)
    for guest in (ada, grace):
        await expect(guest.time).to_have_text(later(5, 0))
    await wait_until_in_sync(ada, grace)
    lin = await guests.invite("Lin", PHONE)
    await lin.join(places.guest, code)
    await expect(lin.time).to_have_text(later(5, 0))
    await wait_until_in_sync(ada, grace, lin)
    await ada.play.click()
    await expect(grace.by_id("playing")).to_have_text("Paused · Ada controls")
    await expect(ada.play).to_have_text("Play")

    async def are_paused_together() -> bool:
        positions = [await guest.page.evaluate("watchParty.position()") for guest in (ada, grace, lin)]
        return max(positions) - min(positions) < 0.05

    await wait_until(are_paused_together)


async def test_the_host_leaves(guests: Guests, places: Places) -> None:
    """When the host leaves, the other guest becomes the host and controls the video, and both pages show it."""
    ada, grace, _ = await meet(guests, places)
    await expect(grace.play).to_be_hidden()
    await ada.page.get_by_role("button", name="Leave").click()
    await expect(ada.page.get_by_role("heading", level=1)).to_have_text("You have left the room")
    await expect(grace.host).to_have_text("Grace")
    await expect(grace.people).to_have_text(["Grace"])
    await expect(grace.news.last).to_have_text("You are now the host.")
    await grace.watch_the_film()


async def test_the_host_closes_the_page(guests: Guests) -> None:
    """When the host closes the page and does not return, the other guest becomes the host."""
    with party_server("memory://", **BRIEF) as server:
        ada, grace, _ = await meet(guests, Places(server.address, server.address))
        await ada.page.goto("about:blank")
        await expect(grace.host).to_have_text("Grace")


async def test_the_host_reloads(guests: Guests, places: Places) -> None:
    """A host who reloads the page stays the host, and the other page shows no announcement about it."""
    ada, grace, _ = await meet(guests, places)
    await ada.watch_the_film()
    await ada.page.reload()
    await expect(ada.host).to_have_text("Ada")
    await expect(ada.play).to_have_text("Pause")
    await wait_until_in_sync(ada, grace)
    await ada.say("still here")
    await expect(grace.said).to_have_text(["still here"])
    await expect(grace.news).to_have_text(["Ada chose a video."])


async def test_the_first_message_is_evicted(guests: Guests, places: Places) -> None:
    """The 21st message evicts the first, on both pages and on the page of a late guest."""
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
    """Guests of a killed server reconnect to the other one, stay in the room, and see each message once."""
    with ExitStack() as running:
        url = running.enter_context(redis_server()).url
        killed, survivor = (running.enter_context(party_server(url, **FREE)) for _ in range(2))
        async with proxy_to(killed.port) as proxy:
            places = Places(f"http://127.0.0.1:{proxy.port}/", survivor.address)
            ada, grace, _ = await meet(guests, places)
            await ada.watch_the_film()
            await ada.say("before")
            await expect(grace.said).to_have_text(["before"])
            await expect(ada.waiting).to_have_count(0)  # otherwise the page resends it after reconnecting
            killed.kill()
            await expect(ada.status).to_contain_text("No connection")
            await ada.say("said while away")
            await grace.say("missed")
            await expect(ada.waiting).to_have_count(1)
            proxy.target = survivor.port
            await expect(ada.status).to_be_empty()
            for guest in (ada, grace):
                await expect(guest.said.filter(has_text="said while away")).to_have_count(1)
                await expect(guest.said).to_have_count(3)
                await expect(guest.waiting).to_have_count(0)
                await expect(guest.people).to_have_text(["Ada", "Grace"])
                await expect(guest.host).to_have_text("Ada")
            await expect(grace.news).to_have_text(["Ada chose a video."])
            await ada.seek(120)
            await expect(grace.time).to_have_text(later(2, 0))
            await wait_until_in_sync(ada, grace)


async def test_a_server_dies_with_its_guests(guests: Guests) -> None:
    """Guests of a killed server who do not reconnect are removed after the grace period, and the next is the host."""
    with ExitStack() as running:
        url = running.enter_context(redis_server()).url
        killed, survivor = (running.enter_context(party_server(url, **BRIEF)) for _ in range(2))
        ada, grace, _ = await meet(guests, Places(killed.address, survivor.address))
        killed.kill()
        await expect(ada.status).to_contain_text("No connection")
        await expect(grace.host).to_have_text("Grace")
        await expect(grace.people).to_have_text(["Grace"])


async def test_a_slow_network(guests: Guests, memory: str) -> None:
    """A guest's video is in sync despite a network delay of 0.6 s each way and a wrong clock."""
    async with proxy_to(_port(memory), delay=0.6) as proxy:
        ada, grace, _ = await meet(guests, Places(memory, f"http://127.0.0.1:{proxy.port}/"))
        await grace.page.evaluate("() => { Date.now = () => 0; }")
        await ada.watch_the_film()
        await expect(grace.by_id("playing")).to_have_text("Playing · Ada controls")
        await wait_until_in_sync(ada, grace)


async def test_a_clock_jumps(guests: Guests, memory: str) -> None:
    """A guest's video is in sync again after the machine was suspended for 5 seconds and the network became slower."""
    async with proxy_to(_port(memory)) as proxy:
        ada, grace, _ = await meet(guests, Places(memory, f"http://127.0.0.1:{proxy.port}/"))
        await ada.watch_the_film()
        await ada.seek(100)
        await expect(grace.time).to_have_text(later(1, 40))
        await wait_until_in_sync(ada, grace)
        proxy.delay = 0.2
        await grace.page.evaluate("jump(-5000)")
        await wait_until_in_sync(ada, grace)


def _port(address: str) -> int:
    return int(address.rsplit(":", 1)[1].strip("/"))
