"""The entry form in a real browser, the ways into a room, and the final messages."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from browser_page import BRIEF, FREE, Guests, Places, meet
from party_server import party_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


async def test_a_name_is_taken(guests: Guests, memory: str) -> None:
    """After an error about the name, the typed code stays, joining stays the main button, and the name is focused."""
    ada, eve = await guests.invite("Ada"), await guests.invite("ada")
    code = await ada.create(memory)
    await eve.page.goto(memory)
    await eve.page.get_by_label("Room code").fill(code.lower())
    await eve.page.get_by_label("Your name").fill("ada")
    await eve.page.get_by_role("button", name="Join the room").click()
    await expect(eve.page.get_by_role("alert")).to_have_text(re.compile("already has this name"))
    await expect(eve.by_id("name")).to_be_focused()
    await expect(eve.by_id("name")).to_have_attribute("aria-invalid", "true")
    await expect(eve.by_id("room")).to_have_value(code)
    await expect(eve.by_id("join")).not_to_have_class("quiet")
    await expect(eve.by_id("create")).to_have_class("quiet")
    await eve.page.keyboard.type("Eve")  # replaces the name, which is selected
    await eve.page.keyboard.press("Enter")
    await expect(eve.people).to_have_text(["Ada", "Eve"])


async def test_the_main_button(guests: Guests, memory: str) -> None:
    """Joining is the main button while the form contains a code, and creating otherwise."""
    ada = await guests.invite("Ada")
    await ada.page.goto(memory)
    await expect(ada.by_id("join")).to_have_class("quiet")
    await ada.by_id("room").fill("MOVIE")
    await expect(ada.by_id("create")).to_have_class("quiet")
    await ada.by_id("room").fill("")
    await expect(ada.by_id("join")).to_have_class("quiet")


async def test_a_code_is_chosen(guests: Guests, memory: str) -> None:
    """A room is created with the typed code, unless another room has it."""
    ada, eve = await guests.invite("Ada"), await guests.invite("Eve")
    for guest in (ada, eve):
        await guest.page.goto(memory)
        await guest.page.get_by_label("Your name").fill(guest.name)
        await guest.page.get_by_label("Room code").fill("movie-night")
        await guest.page.get_by_role("button", name="Create a room").click()
        await expect(guest.status).to_be_empty()
    await expect(ada.by_id("code")).to_have_text("MOVIE-NIGHT")
    await expect(eve.page.get_by_role("alert")).to_contain_text("There is a room with this code already.")
    await expect(eve.by_id("room")).to_be_focused()
    await eve.by_id("room").fill("x")
    await eve.page.get_by_role("button", name="Create a room").click()
    await expect(eve.page.get_by_role("alert")).to_contain_text("4 to 32 letters, digits or hyphens")


async def test_no_name(guests: Guests, memory: str) -> None:
    """Without a name, or without a code to join, the form states what to enter and focuses the field."""
    eve = await guests.invite("Eve")
    await eve.page.goto(memory)
    await eve.page.get_by_role("button", name="Create a room").click()
    await expect(eve.page.get_by_role("alert")).to_have_text("Enter a name (up to 40 characters).")
    await expect(eve.by_id("name")).to_be_focused()
    await eve.page.keyboard.type("Eve")
    await eve.page.get_by_role("button", name="Join the room").click()
    await expect(eve.page.get_by_role("alert")).to_have_text("Enter a room code, or create a room.")
    await expect(eve.by_id("room")).to_be_focused()


async def test_a_wrong_code(guests: Guests, memory: str) -> None:
    """An unknown code gives an error in the entry form, and the entered values stay there."""
    eve = await guests.invite("Eve")
    await eve.request_to_join(memory, "noroom")
    await expect(eve.page.get_by_role("alert")).to_have_text(re.compile("No room with this code"))
    await expect(eve.by_id("room")).to_have_value("NOROOM")
    await expect(eve.by_id("room")).to_be_focused()
    await expect(eve.by_id("name")).to_have_value("Eve")


async def test_a_damaged_link(guests: Guests, memory: str) -> None:
    """A link without a valid code opens the entry form, and whitespace around a code is ignored."""
    ada, eve = await guests.invite("Ada"), await guests.invite("Eve")
    await eve.page.goto(f"{memory}#%")
    await expect(eve.by_id("name")).to_be_focused()
    code = await ada.create(memory)
    await eve.page.goto("about:blank")
    await eve.join(memory, f"%20{code.lower()}%20")


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
