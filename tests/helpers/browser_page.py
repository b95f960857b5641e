"""Guests of the watch party in Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build/screenshots"
FREE = {"WNC_STORE_RATE_LIMIT_MAX": "100000", "WNC_STORE_CONNECTION_LIMIT": "100", "WNC_STORE_CONNECTION_TTL": "600"}
"""Settings with limits that no test reaches, even on a slow machine."""
BRIEF = {**FREE, "WNC_STORE_CONNECTION_TTL": "3"}
"""Settings that remove disconnected users quickly."""
_MAX_DIFFERENCE = 0.3  # seconds, as examples/watch_party/README.md promises
DESKTOP = (1280, 720)
PHONE = (390, 844)

SECONDS = 60
expect.set_options(timeout=SECONDS * 1000)

# realTime() has the same origin on all pages of this machine, even if a test changes a page's clock.
_PLAYBACK = """({
  at: realTime() / 1000,
  position: watchParty.position(),
  status: document.querySelector("#playing").textContent,
})"""
_INIT_SCRIPT = """
const real = performance.now.bind(performance);
let jumped = 0;
window.realTime = () => performance.timeOrigin + real();
window.jump = (milliseconds) => { jumped += milliseconds; };
performance.now = () => real() + jumped;
window.flashed = [];
new MutationObserver(() => {
  for (const id of ["status", "copy-code"]) flashed.push(document.getElementById(id)?.textContent);
}).observe(document, { childList: true, characterData: true, subtree: true });
"""


def later(minutes: int, seconds: int, length: str = "10:00") -> re.Pattern[str]:
    """Return a pattern for the displayed time at or after a position below ten minutes."""
    return re.compile(rf"({minutes}:[{seconds // 10}-5]|[{minutes + 1}-9]:\d)\d / {length}")


class Guest:
    """A guest's page in its own browser context."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.people = page.locator("#people .name")
        self.host = page.locator("#people .host .name")
        self.said = page.locator("#messages .message .text")
        self.waiting = page.locator("#messages .waiting")
        self.news = page.locator("#messages .news")
        self.status = page.locator("#status")
        self.play = page.locator("#play")
        self.time = page.locator("#time")

    def by_id(self, name: str) -> Locator:
        """Return the element with an id."""
        return self.page.locator(f"#{name}")

    async def create(self, address: str) -> str:
        """Create a room and return its code."""
        await self.page.goto(address)
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.get_by_role("button", name="Create a room").click()
        await expect(self.people).to_have_text([self.name])
        return await self.by_id("code").inner_text()

    async def request_to_join(self, address: str, code: str) -> None:
        """Open the link of a room and submit the entry form."""
        await self.page.goto(f"{address}#{code}")
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.get_by_role("button", name="Join the room").click()

    async def join(self, address: str, code: str) -> None:
        """Join a room."""
        await self.request_to_join(address, code)
        await expect(self.people.filter(has_text=self.name)).to_be_visible()

    async def say(self, *texts: str) -> None:
        """Send messages, one after the other."""
        for text in texts:
            await self.page.get_by_label("Message", exact=True).fill(text)
            await self.page.keyboard.press("Enter")

    async def watch_the_film(self) -> None:
        """Choose the built-in film and play it, as the host."""
        await self.page.get_by_role("button", name="Built-in film").click()
        await expect(self.page.locator("canvas")).to_be_visible()
        await self.play.click()
        await expect(self.play).to_have_text("Pause")

    async def watch(self, url: str) -> None:
        """Choose a video, as the host."""
        await self.page.get_by_label("Link to a video").fill(url)
        await self.page.get_by_role("button", name="Watch", exact=True).click()

    async def seek(self, seconds: int) -> None:
        """Seek in the video, as the host."""
        await self.by_id("seek").fill(str(seconds))

    async def open_menu(self, text: str) -> None:
        """Open the menu of the message with a text."""
        message = self.page.locator("#messages .message").filter(has_text=text)
        await message.hover()
        await message.get_by_role("button", name="React").first.click()
        await expect(self.by_id("menu")).to_be_visible()

    async def choose(self, name: str) -> None:
        """Press a button of the open menu."""
        await self.by_id("menu").get_by_role("button", name=name, exact=True).click()

    async def flashed(self, text: str) -> None:
        """Wait until the page has shown a text, even if only for a moment."""
        await self.page.wait_for_function("(text) => flashed.includes(text)", arg=text)

    async def take_screenshot(self, name: str) -> None:
        """Save a screenshot of the page."""
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


class Guests:
    """Opens the pages of the guests."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.all: list[Guest] = []

    async def invite(self, name: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Guest:
        """Return an empty page in a new browser context."""
        context_options: dict[str, Any] = {
            "viewport": {"width": size[0], "height": size[1]},
            "color_scheme": "dark",
            **options,
        }
        context = await self._browser.new_context(**context_options)
        context.set_default_timeout(SECONDS * 1000)
        await context.add_init_script(_INIT_SCRIPT)
        self._contexts.append(context)
        guest = Guest(await context.new_page(), name)
        self.all.append(guest)
        return guest

    async def aclose(self, test: str) -> None:
        """Save a screenshot of each page, close all pages, and fail if a page had an error."""
        for guest in self.all:
            await guest.take_screenshot(f"{re.sub(r'[^a-z0-9]+', '-', test)}-{guest.name.lower()}")
        await asyncio.gather(*(context.close() for context in self._contexts))
        assert [error for guest in self.all for error in guest.errors] == []


async def wait_until_in_sync(*guests: Guest) -> None:
    """Wait until the playing videos of all guests are within the promised difference, at one moment.

    Each may differ from the room's time by 80 ms (`OFF` in sync.js) plus its error in estimating the server's clock.
    """
    differences: list[float] = []
    while len(differences) < 5 or max(differences[-5:]) >= _MAX_DIFFERENCE:  # the test's time limit ends the loop
        await asyncio.sleep(0.1)
        samples = await asyncio.gather(*(guest.page.evaluate(_PLAYBACK) for guest in guests))
        assert all(sample["status"].startswith("Playing") for sample in samples)
        starts = [sample["position"] - sample["at"] for sample in samples]
        differences.append(max(starts) - min(starts))


@dataclass
class Places:
    """The addresses of the host's page and of the guest's page."""

    host: str
    guest: str


async def meet(guests: Guests, places: Places) -> tuple[Guest, Guest, str]:
    """Return a host and a guest in one room, and the room's code."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    code = await ada.create(places.host)
    await grace.join(places.guest, code)
    return ada, grace, code
