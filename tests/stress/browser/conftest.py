"""Fixtures of the browser tests: the browser, its guests and the servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from browser_page import CHROMIUM, FREE, Guests, Places
from party_server import party_server
from redis_server import redis_server


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    """One browser for all tests. Each guest has its own browser context."""
    if CHROMIUM is None:
        pytest.skip("chromium, chromium-browser or google-chrome is required on the PATH")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def guests(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Guests]:
    """A factory of guests, which saves screenshots at the end and fails if a page had an error."""
    guests = Guests(browser)
    yield guests
    await guests.aclose(request.node.name.removeprefix("test_"))


@pytest.fixture(scope="module")
def memory() -> Iterator[str]:
    """The address of a server with a store in memory."""
    with party_server("memory://", **FREE) as server:
        yield server.address


@pytest.fixture(scope="module", params=["memory", "redis"])
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    """One server in memory for both pages, or two servers on Redis."""
    if request.param == "memory":
        address = request.getfixturevalue("memory")
        yield Places(address, address)
        return
    with ExitStack() as running:
        url = running.enter_context(redis_server()).url
        first, second = (running.enter_context(party_server(url, **FREE)) for _ in range(2))
        yield Places(first.address, second.address)
