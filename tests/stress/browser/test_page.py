"""The page in a real browser: its players, its entry form, its final messages and its accessibility."""

from __future__ import annotations

import io
import re
import wave
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from browser_page import BRIEF, DESKTOP, FREE, PHONE, Guest, Guests, Places, later, meet, wait_until_in_sync
from party_server import party_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
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
_YOUTUBE = "https://www.youtube.com/iframe_api"


async def test_youtube(guests: Guests, memory: str) -> None:
    """A YouTube video is played in sync by YouTube's player, which determines its duration."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    for guest in (ada, grace):
        await guest.page.route(_YOUTUBE, _fake_youtube)
    await grace.join(memory, await ada.create(memory))
    await ada.page.get_by_label("Link to a video").fill("https://youtu.be/dQw4w9WgXcQ?t=3")
    await ada.page.get_by_role("button", name="Watch", exact=True).click()
    for guest in (ada, grace):
        await expect(guest.page.get_by_title("dQw4w9WgXcQ")).to_be_visible()
        await expect(guest.time).to_have_text("0:00 / 3:33")
    await ada.play.click()
    await ada.seek(100)
    await expect(grace.time).to_have_text(later(1, 40, "3:33"))
    await wait_until_in_sync(ada, grace)
    await ada.play.click()
    await expect(grace.by_id("playing")).to_have_text("Paused · Ada controls")
    assert await grace.page.evaluate("youTubePlayer.getPlayerState()") == 2


async def _fake_youtube(route: Route) -> None:
    await route.fulfill(path=Path(__file__).parents[2] / "helpers/youtube.js", content_type="text/javascript")


async def test_no_youtube(guests: Guests, memory: str) -> None:
    """If YouTube cannot be reached, the page shows a drawn film and a notice."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    await grace.page.route(_YOUTUBE, lambda route: route.abort())
    await ada.page.route(_YOUTUBE, lambda route: route.abort())
    await ada.page.get_by_label("Link to a video").fill("https://youtu.be/dQw4w9WgXcQ")
    await ada.page.get_by_role("button", name="Watch", exact=True).click()
    for guest in (ada, grace):
        await expect(guest.by_id("notice")).to_contain_text("A drawn film is shown instead")
    await ada.play.click()
    await ada.seek(60)
    await expect(grace.time).to_have_text(later(1, 0))
    await wait_until_in_sync(ada, grace)


async def test_a_file(guests: Guests, memory: str) -> None:
    """A video file is played in sync by the browser, and a drawn film replaces a missing file."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    for guest in (ada, grace):
        await guest.page.route("https://video.example/silence.mp4", _silence)
        await guest.page.route("https://video.example/nothing.mp4", lambda route: route.fulfill(status=404))
    await grace.join(memory, await ada.create(memory))
    await ada.page.get_by_label("Link to a video").fill("https://video.example/silence.mp4")
    await ada.page.keyboard.press("Enter")
    await expect(ada.time).to_have_text("0:00 / 10:00")
    await ada.play.click()
    await ada.seek(20)
    await expect(grace.time).to_have_text(later(0, 20))
    await wait_until_in_sync(ada, grace)
    assert await grace.page.evaluate("document.querySelector('video').currentTime") > 20
    await ada.page.get_by_label("Link to a video").fill("https://video.example/nothing.mp4")
    await ada.page.keyboard.press("Enter")
    for guest in (ada, grace):
        await expect(guest.by_id("notice")).to_contain_text("A drawn film is shown instead")
        await expect(guest.page.locator("canvas")).to_be_visible()


async def _silence(route: Route) -> None:
    """Respond with ten minutes of silence, or the requested range of them."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8000)
        sound.writeframes(b"\x80" * 8000 * 600)
    content = file.getvalue()
    first, _, last = (route.request.headers.get("range") or "bytes=0-").removeprefix("bytes=").partition("-")
    start, stop = int(first), int(last) + 1 if last else len(content)
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}", "Accept-Ranges": "bytes"}
    await route.fulfill(status=206, headers=headers, content_type="audio/wav", body=content[start:stop])


async def test_the_film_ends(guests: Guests, memory: str) -> None:
    """The film stops at its end and can be played again."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    await ada.watch_the_film()
    await ada.seek(599)
    await expect(ada.play).to_have_text("Play again")
    await expect(grace.by_id("playing")).to_have_text("Ended · Ada controls")
    await ada.play.click()
    await expect(grace.time).to_have_text(re.compile(r"[0-4]:\d\d / 10:00"))


async def test_a_name_is_taken(guests: Guests, memory: str) -> None:
    """A guest with the host's name gets an error in the entry form and can join with another name."""
    ada, eve = await guests.invite("Ada"), await guests.invite("ada")
    code = await ada.create(memory)
    await eve.request_to_join(memory, code)
    await expect(eve.page.get_by_role("alert")).to_have_text(re.compile("already has this name"))
    await eve.page.get_by_label("Your name").fill("Eve")
    await eve.page.get_by_role("button", name="Join the room").click()
    await expect(eve.people).to_have_text(["Ada", "Eve"])


async def test_a_wrong_code(guests: Guests, memory: str) -> None:
    """An unknown code gives an error in the entry form, and the entered values stay there."""
    eve = await guests.invite("Eve")
    await eve.request_to_join(memory, "noroom")
    await expect(eve.page.get_by_role("alert")).to_have_text(re.compile("No room with this code"))
    await expect(eve.by_id("room")).to_have_value("NOROOM")
    await expect(eve.by_id("name")).to_have_value("Eve")


async def test_texts_are_too_long(guests: Guests) -> None:
    """A message that is too long returns to the input, and a name that is too long gives an error."""
    short = {**FREE, "WNC_STORE_MAX_MESSAGE_LENGTH": "20", "WNC_STORE_MAX_NAME_LENGTH": "20"}
    with party_server("memory://", **short) as server:
        ada, eve = await guests.invite("Ada"), await guests.invite("E" * 21)
        code = await ada.create(server.address)
        await ada.say("This is a long sentence.")
        await ada.flashed("The text is too long. Shorten it and try again.")
        await expect(ada.by_id("text")).to_have_value("This is a long sentence.")
        await expect(ada.said).to_have_count(0)
        await ada.say("Shorter.")
        await expect(ada.said).to_have_text(["Shorter."])
        await eve.request_to_join(server.address, code)
        await expect(eve.page.get_by_role("alert")).to_contain_text("shorter name")


async def test_a_damaged_link(guests: Guests, memory: str) -> None:
    """A link without a valid code opens the entry form, and whitespace around a code is ignored."""
    ada, eve = await guests.invite("Ada"), await guests.invite("Eve")
    await eve.page.goto(f"{memory}#%")
    await expect(eve.by_id("name")).to_be_focused()
    code = await ada.create(memory)
    await eve.page.goto("about:blank")
    await eve.join(memory, f"%20{code.lower()}%20")


@pytest.mark.parametrize("link", ["https://youtube.com:x/watch?v=dQw4w9WgXcQ", "https://%zz.youtube.com/"])
async def test_a_link_that_browsers_reject(guests: Guests, memory: str, link: str) -> None:
    """The page shows a drawn film for a link that the browser's URL parser rejects."""
    ada = await guests.invite("Ada")
    await ada.create(memory)
    await ada.by_id("video-url").evaluate("(field, link) => { field.type = 'text'; field.value = link; }", link)
    await ada.page.get_by_role("button", name="Watch", exact=True).click()
    await expect(ada.page.locator("canvas")).to_be_visible()
    await expect(ada.play).to_be_enabled()


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


async def test_the_host_ends_the_party(guests: Guests, memory: str) -> None:
    """When the host ends the party, every page shows it, and its button leads back to the entry form."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    ada.page.on("dialog", lambda dialog: dialog.accept())
    await ada.page.get_by_role("button", name="End for all").click()
    for guest in (ada, grace):
        await expect(guest.page.get_by_role("heading", level=1)).to_have_text("The room is closed")
    await expect(ada.by_id("ended-text")).to_have_text("You ended the party.")
    await expect(grace.by_id("ended-text")).to_have_text("The host ended the party, or the room was removed.")
    await grace.page.get_by_role("button", name="Back to the start").click()
    await expect(grace.page.get_by_role("heading", level=1)).to_have_text("Watch together")
    await expect(grace.by_id("room")).to_have_value("")


async def test_full_and_expired(guests: Guests) -> None:
    """The page shows that a room is full or has expired."""
    ada, eve, lin = [await guests.invite(name) for name in ("Ada", "Eve", "Lin")]
    with party_server("memory://", **FREE, WNC_STORE_MAX_USERS_PER_ROOM="1") as server:
        await eve.request_to_join(server.address, await ada.create(server.address))
        await expect(eve.page.get_by_role("heading", level=1)).to_have_text("The room is full")
    with party_server("memory://", **BRIEF, WNC_STORE_ROOM_TTL="5") as server:
        await lin.page.goto(server.address)
        await lin.page.get_by_label("Your name").fill("Lin")
        await lin.page.get_by_role("button", name="Create a room").click()
        await expect(lin.page.get_by_role("heading", level=1)).to_have_text("The room has expired")


async def test_the_code_is_shared(guests: Guests, memory: str) -> None:
    """The buttons copy the code and the link, even if the page may not use the clipboard API."""
    ada = await guests.invite("Ada", permissions=["clipboard-read", "clipboard-write"])
    code = await ada.create(memory)
    read = "navigator.clipboard.readText()"
    await ada.page.get_by_role("button", name="Copy link").click()
    await ada.flashed("Copied.")
    assert await ada.page.evaluate(read) == f"{memory}#{code}"
    await ada.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    await ada.page.get_by_role("button", name="Copy code").click()
    await ada.flashed("Copied")
    assert await ada.page.evaluate(read) == code


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_the_page_is_accessible(guests: Guests, memory: str, size: tuple[int, int]) -> None:
    """axe-core reports no violation in the entry form, in the room and at the end, and no view is too wide."""
    ada, grace = await guests.invite("Ada", size), await guests.invite("Grace", size)
    await ada.page.goto(memory)
    await _assert_accessible(ada)
    await grace.join(memory, await ada.create(memory))
    await ada.watch_the_film()
    await ada.say("hello")
    await grace.say("hello")
    await expect(grace.said).to_have_count(2)
    await expect(grace.waiting).to_have_count(0)
    for guest in (ada, grace):
        await _assert_accessible(guest)
    await grace.page.get_by_role("button", name="Leave").click()
    await expect(grace.by_id("ended")).to_be_visible()
    await _assert_accessible(grace)


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
    await keys.press("Shift+Tab")
    await keys.press("Shift+Tab")
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
    lin = await guests.invite("Lin")
    await lin.join(memory, code)
    await ada.watch_the_film()
    await ada.seek(131)
    await grace.say("Is the sound fine with you?")
    await expect(ada.said).to_have_count(1)
    await ada.say("All good. Look at that sunrise!")
    await expect(lin.said).to_have_count(2)
    await lin.say("And here comes the boat.")
    for guest, name in ((ada, "party"), (grace, "party-on-a-phone")):
        await expect(guest.said).to_have_count(3)
        await expect(guest.time).to_have_text(later(2, 10))
        for element_id in ("stage", "people", "text"):
            await expect(guest.by_id(element_id)).to_be_in_viewport(ratio=1)
        await guest.take_screenshot(name)
