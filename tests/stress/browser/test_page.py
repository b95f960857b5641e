"""The page in a real browser: its accessibility and its layout."""

from __future__ import annotations

from importlib.resources import files

import pytest
from playwright.async_api import expect

from browser_page import DESKTOP, FREE, PHONE, Guest, Guests, Places, later, meet
from party_page import visiting
from party_server import party_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
_API = "https://www.youtube.com/iframe_api"
_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
_VIOLATIONS = (
    "axe.run().then((all) => all.violations.map((rule) => [rule.id, rule.nodes.map((node) => node.target.join(' '))]))"
)
_OBSERVE_LIVE_REGIONS = """
window.readOut = [];
for (const region of document.querySelectorAll("output, [role=status], [role=alert], [role=log], [aria-live]")) {
  const observer = new MutationObserver(() => readOut.push(region.id));
  observer.observe(region, { childList: true, characterData: true, subtree: true });
}
"""


async def test_time_is_not_read_out(guests: Guests, memory: str) -> None:
    """While a film plays, no live region changes, so a screen reader stays silent."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    await ada.watch_the_film()
    await expect(grace.by_id("playing")).to_have_text("Playing · Ada controls")
    for guest in (ada, grace):
        await guest.page.evaluate(_OBSERVE_LIVE_REGIONS)
        shown = await guest.time.inner_text()
        await expect(guest.time).not_to_have_text(shown)
        assert await guest.page.evaluate("readOut") == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_the_page_is_accessible(guests: Guests, memory: str, size: tuple[int, int], scheme: str) -> None:
    """axe-core reports no violation in any view of either theme, and no view is too wide."""
    ada, grace = [await guests.invite(name, size, color_scheme=scheme) for name in ("Ada", "Grace")]
    await ada.page.goto(memory)
    await ada.page.get_by_role("button", name="Create a room").click()
    await expect(ada.page.get_by_role("alert")).not_to_be_empty()
    await _assert_accessible(ada)
    code = await ada.create(memory)
    await _assert_accessible(ada)  # with the invitation
    await grace.join(memory, code)
    await ada.page.route(_API, lambda route: route.abort())
    await ada.watch("https://youtu.be/dQw4w9WgXcQ")
    await expect(ada.page.get_by_role("button", name="Try again")).to_be_visible()
    await ada.say("hello")
    await grace.say("well")
    await expect(grace.said).to_have_count(2)
    await expect(grace.waiting).to_have_count(0)
    await ada.open_menu("hello")
    await ada.choose("Heart")
    await expect(grace.page.locator(".chip")).to_have_count(1)
    await ada.open_menu("hello")
    await _assert_accessible(ada)
    await ada.page.keyboard.press("Escape")
    await grace.by_id("text").press_sequentially("w")
    await expect(ada.by_id("typing")).not_to_be_empty()
    for guest in (ada, grace):
        await _assert_accessible(guest)
    await grace.page.get_by_role("button", name="Leave").click()
    await expect(grace.by_id("ended")).to_be_visible()
    await _assert_accessible(grace)


async def test_the_volume_is_accessible(guests: Guests, memory: str) -> None:
    """axe-core reports no violation in the controls of a video with sound, and in full screen."""
    ada = await guests.invite("Ada")
    await ada.page.route("https://video.example/*", lambda _route: None)  # the file is loading forever
    await ada.create(memory)
    await ada.watch("https://video.example/film.mp4")
    await expect(ada.by_id("volume")).to_be_visible()
    await _assert_accessible(ada)
    await ada.page.get_by_role("button", name="Full screen").click()
    await expect(ada.by_id("text")).to_be_hidden()
    await _assert_accessible(ada)


async def _assert_accessible(guest: Guest) -> None:
    # New elements fade in, and axe-core would report the contrast of half transparent elements.
    await guest.page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    await guest.page.evaluate(_AXE)
    assert await guest.page.evaluate(_VIOLATIONS) == []
    assert await guest.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_by_keyboard(guests: Guests, memory: str) -> None:
    """The keyboard alone can create a room, play a film and send a message, and the focus is always visible."""
    ada = await guests.invite("Ada")
    keys = ada.page.keyboard
    await ada.page.goto(memory)
    await expect(ada.by_id("name")).to_be_focused()
    await keys.type("Ada")
    await _tab_to(ada, "create")
    await keys.press("Enter")
    await expect(ada.by_id("party-title")).to_be_focused()
    await _tab_to(ada, "test-film")
    await keys.press("Enter")
    await expect(ada.play).to_be_enabled()
    for element_id in ("video-url", "full-screen", "seek"):
        while await ada.page.evaluate("document.activeElement.id") != element_id:
            await keys.press("Shift+Tab")
    await expect(ada.by_id("seek")).to_be_focused()
    await keys.press("End")
    await expect(ada.play).to_have_text("Play again")
    await keys.press("Home")
    await expect(ada.by_id("seek")).to_have_attribute("aria-valuetext", "the start of 10 minutes")
    await keys.press("ArrowRight")
    await expect(ada.by_id("seek")).to_have_attribute("aria-valuetext", "1 second of 10 minutes")
    await keys.press("Shift+Tab")
    await expect(ada.play).to_be_focused()
    await keys.press("Space")
    await expect(ada.play).to_have_text("Pause")
    await _tab_to(ada, "text")
    await keys.type("hello")
    await keys.press("Enter")
    await expect(ada.said).to_have_text(["hello"])


async def _tab_to(guest: Guest, name: str) -> None:
    """Press Tab until an element has the focus, and check that each focused element has an outline."""
    for _ in range(20):
        await guest.page.keyboard.press("Tab")
        shown = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        assert await guest.page.evaluate(f"document.activeElement === document.body || {shown}")
        if await guest.page.evaluate("document.activeElement.id") == name:
            return
    message = f"#{name} did not get the focus after 20 presses of Tab"
    raise AssertionError(message)


async def test_the_room_fits_the_window(guests: Guests, memory: str) -> None:
    """On a desktop and on a phone, the video, the people and the message input fit into the window."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace", PHONE, device_scale_factor=2)
    code = await ada.create(memory)
    await grace.join(memory, code)
    lin = await guests.invite("Lin", color_scheme="light")
    await lin.join(memory, code)
    await ada.watch_the_film()
    await ada.seek(131)
    await grace.say("Is the sound fine with you?")
    await expect(ada.said).to_have_count(1)
    await ada.say("All good. Look at that sunrise!")
    await expect(lin.said).to_have_count(2)
    await lin.say("And here comes the boat.")
    await ada.open_menu("boat")
    await ada.choose("Heart")
    await grace.open_menu("boat")
    await grace.choose("Heart")
    await grace.by_id("text").focus()
    for guest, name in ((ada, "party"), (grace, "party-on-a-phone"), (lin, "party-in-light")):
        await expect(guest.said).to_have_count(3)
        await expect(guest.page.locator(".chip")).to_have_text(["❤️ 2"])
        await expect(guest.time).to_have_text(later(2, 10))
        for element_id in ("stage", "people", "text"):
            await expect(guest.by_id(element_id)).to_be_in_viewport(ratio=1)
        await guest.take_screenshot(name)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_a_notice_covers_no_control(guests: Guests, size: tuple[int, int]) -> None:
    """The notice about a lost connection covers neither the message input nor any button."""
    ada = await guests.invite("Ada", size)
    with party_server("memory://", **FREE) as server:
        await ada.create(server.address)
        server.kill()
        await expect(ada.status).to_contain_text("No connection")
    await expect(ada.by_id("text")).to_be_in_viewport(ratio=1)
    notice = await ada.status.bounding_box()
    assert notice is not None
    for control in await ada.page.locator("button:visible, input:visible").all():
        box = await control.bounding_box()
        assert box is not None
        apart = (
            box["y"] >= notice["y"] + notice["height"]
            or notice["y"] >= box["y"] + box["height"]
            or box["x"] >= notice["x"] + notice["width"]
            or notice["x"] >= box["x"] + box["width"]
        )
        assert apart, await control.get_attribute("id")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_many_people(guests: Guests, size: tuple[int, int]) -> None:
    """A long list of people is cut by a button that shows all, and always contains this user."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace", size)
    with party_server("memory://", **FREE) as server:
        code = await ada.create(server.address)
        async with visiting(server.host) as party:
            for number in range(10):
                await party.guest(code, f"Guest {number}")
            await grace.join(server.address, code)
            few = ["Ada", *(f"Guest {number}" for number in range(4)), "Grace"]
            await expect(grace.people).to_have_text(few)
            for person in await grace.people.all():
                await expect(person).to_be_in_viewport(ratio=1)
            await grace.page.get_by_role("button", name="Show all 12").click()
            await expect(grace.people).to_have_count(12)
            await grace.people.last.scroll_into_view_if_needed()
            await expect(grace.people.last).to_be_in_viewport(ratio=1)
            await grace.page.get_by_role("button", name="Show fewer").click()
            await expect(grace.people).to_have_text(few)
