"""Browsers at a watch party: Debian's Chromium, driven by Playwright."""

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
"""Settings of a party where nobody is away for too long, however slow the machine."""
BRIEF = {**FREE, "WNC_STORE_CONNECTION_TTL": "3"}
"""Settings of a party where who is away is soon gone."""
_STEP = 0.3  # seconds: examples/watch_party/README.md
DESKTOP = (1280, 720)
PHONE = (390, 844)

SECONDS = 60
expect.set_options(timeout=SECONDS * 1000)

# Performance counts from one origin for all pages of this machine, whatever happens to a page's clock.
_WHERE = """({
  at: realTime() / 1000,
  position: watchParty.position(),
  says: document.querySelector("#playing").textContent,
})"""
_BEFORE = """
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
    """Return what matches the time shown from then on, of a video of that length: below ten minutes."""
    return re.compile(rf"({minutes}:[{seconds // 10}-5]|[{minutes + 1}-9]:\d)\d / {length}")


class Guest:
    """A guest's page, in a browser context of its own."""

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
        """Return the element of that id."""
        return self.page.locator(f"#{name}")

    async def create(self, address: str) -> str:
        """Create a room and return its code."""
        await self.page.goto(address)
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.get_by_role("button", name="Create a room").click()
        await expect(self.people).to_have_text([self.name])
        return await self.by_id("code").inner_text()

    async def knock(self, address: str, code: str) -> None:
        """Ask to be let into a room, by its link."""
        await self.page.goto(f"{address}#{code}")
        await self.page.get_by_label("Your name").fill(self.name)
        await self.page.get_by_role("button", name="Join the room").click()

    async def join(self, address: str, code: str) -> None:
        """Come into a room."""
        await self.knock(address, code)
        await expect(self.people.filter(has_text=self.name)).to_be_visible()

    async def say(self, *texts: str) -> None:
        """Say something, one after the other."""
        for text in texts:
            await self.page.get_by_label("Message", exact=True).fill(text)
            await self.page.keyboard.press("Enter")

    async def watch_the_film(self) -> None:
        """Choose the built-in film and play it, as the host."""
        await self.page.get_by_role("button", name="Built-in film").click()
        await expect(self.page.locator("canvas")).to_be_visible()
        await self.play.click()
        await expect(self.play).to_have_text("Pause")

    async def seek(self, seconds: int) -> None:
        """Go to a place in the video, as the host."""
        await self.by_id("seek").fill(str(seconds))

    async def flashed(self, text: str) -> None:
        """Return when the page has shown a text, which it may have taken back already."""
        await self.page.wait_for_function("(text) => flashed.includes(text)", arg=text)

    async def photograph(self, name: str) -> None:
        """Keep a picture of the page."""
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


class Guests:
    """Opens pages."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.all: list[Guest] = []

    async def invite(self, name: str, size: tuple[int, int] = DESKTOP, **options: Any) -> Guest:
        """Return an empty page of a new browser context."""
        viewport: Any = {"width": size[0], "height": size[1]}
        context = await self._browser.new_context(viewport=viewport, **options)
        context.set_default_timeout(SECONDS * 1000)
        await context.add_init_script(_BEFORE)
        self._contexts.append(context)
        guest = Guest(await context.new_page(), name)
        self.all.append(guest)
        return guest

    async def aclose(self, test: str) -> None:
        """Keep a picture of each page, close all, and fail if a page had an error."""
        for guest in self.all:
            await guest.photograph(f"{re.sub(r'[^a-z0-9]+', '-', test)}-{guest.name.lower()}")
        await asyncio.gather(*(context.close() for context in self._contexts))
        assert [error for guest in self.all for error in guest.errors] == []


async def in_step(*guests: Guest) -> None:
    """Return when videos that play keep within what the party promises, as if all were looked at in the same moment.

    At rest each may be 80 ms off the room's time (`OFF` in sync.js), and by as much as it misjudges the server's clock.
    """
    apart: list[float] = []
    while len(apart) < 5 or max(apart[-5:]) >= _STEP:  # the test's time-out ends it
        await asyncio.sleep(0.1)
        looks = await asyncio.gather(*(guest.page.evaluate(_WHERE) for guest in guests))
        assert all(look["says"].startswith("Playing") for look in looks)
        starts = [look["position"] - look["at"] for look in looks]
        apart.append(max(starts) - min(starts))


@dataclass
class Places:
    """Where the host's page and the guest's page are."""

    host: str
    guest: str


async def meet(guests: Guests, places: Places) -> tuple[Guest, Guest, str]:
    """Return a host and a guest in one room, and its code."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    code = await ada.create(places.host)
    await grace.join(places.guest, code)
    return ada, grace, code
