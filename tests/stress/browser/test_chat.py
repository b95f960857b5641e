"""The chat in a real browser."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from browser_page import FREE, PHONE, Guest, Guests, Places, meet
from party_server import party_server
from waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
_NOTHING = "() => {}"
_OVERFLOW = """(log) => {
    const child = document.createElement("div");
    child.style.cssText = `position: absolute; top: 0; width: 1px; height: ${log.scrollHeight + 50}px`;
    log.style.position = "relative";
    log.append(child);
}"""
"""Changes the height that scrolls, as rounding does by a pixel, but the size of no element."""
_FROM_END = "(log) => log.scrollHeight - log.clientHeight - log.scrollTop"


async def _is_at_end(guest: Guest) -> None:
    """Wait until the newest message is shown as a whole."""
    await wait_until(lambda: guest.page.evaluate(f"({_FROM_END})(document.getElementById('log')) < 2"))
    await expect(guest.said.last).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("size", [(1280, 480), PHONE], ids=["desktop", "phone"])
async def test_the_newest_message_is_shown(guests: Guests, memory: str, size: tuple[int, int]) -> None:
    """The chat shows its newest message after joining, after a reload, and when its place becomes smaller."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace", size)
    code = await ada.create(memory)
    await ada.say(*(f"This is message {number} of a longer chat." for number in range(20)))
    await expect(ada.waiting).to_have_count(0)
    await grace.join(memory, code)
    await expect(grace.said).to_have_count(20)
    await _is_at_end(grace)
    await grace.page.reload()
    await expect(grace.said).to_have_count(20)
    await _is_at_end(grace)
    await grace.by_id("log").evaluate("(log) => { log.style.maxHeight = '8rem'; }")
    await _is_at_end(grace)
    await ada.say("one more")
    await expect(grace.said.last).to_have_text("one more")
    await _is_at_end(grace)


async def test_a_view_that_grows_and_shrinks_stays_at_its_end(guests: Guests, memory: str) -> None:
    """The chat stays at its end if its place grows, which moves the view up, and shrinks before the next frame."""
    ada = await guests.invite("Ada", (1280, 480))
    await ada.create(memory)
    await ada.say(*(f"message {number}" for number in range(20)))
    await expect(ada.waiting).to_have_count(0)
    log = ada.by_id("log")
    await log.evaluate("(log) => { log.style.flex = 'none'; log.style.height = '12rem'; }")
    await _is_at_end(ada)
    before, after = await log.evaluate(
        """(log) => {
            const before = log.scrollTop;
            log.style.height = '16rem';
            const after = log.scrollTop;
            log.style.height = '8rem';
            return [before, after];
        }"""
    )
    assert after < before
    await _is_at_end(ada)


@pytest.mark.parametrize("just_before", [_NOTHING, _OVERFLOW], ids=["same-height", "other-height"])
async def test_older_messages_are_read(guests: Guests, memory: str, just_before: str) -> None:
    """A user who scrolls up to older messages stays there when another message arrives."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace", (1280, 480))
    code = await ada.create(memory)
    await ada.say(*(f"message {number}" for number in range(15)))
    await grace.join(memory, code)
    await expect(grace.said).to_have_count(15)
    await grace.by_id("log").hover()
    await _is_at_end(grace)  # the page has handled all sizes, so that it does not handle the next one before the wheel
    await grace.by_id("log").evaluate(just_before)
    await grace.page.mouse.wheel(0, -10_000)
    await expect(grace.said.first).to_be_in_viewport(ratio=1)
    await ada.say("hello")
    await expect(grace.said).to_have_count(16)
    await expect(grace.said.first).to_be_in_viewport(ratio=1)
    await grace.say("hello")
    await _is_at_end(grace)


async def test_scrolling_up_while_the_height_changes(guests: Guests, memory: str) -> None:
    """A user who scrolls up in the moment in which the height of the content changes stays there."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace", (1280, 480))
    code = await ada.create(memory)
    await ada.say(*(f"message {number}" for number in range(15)))
    await grace.join(memory, code)
    await expect(grace.said).to_have_count(15)
    log = grace.by_id("log")
    await log.hover()
    await _is_at_end(grace)
    # A child that overflows changes the height that scrolls, as rounding does by a pixel, and no element's size.
    await log.evaluate(
        """(log) => {
            const child = document.createElement("div");
            child.style.cssText = `position: absolute; top: 0; width: 1px; height: ${log.scrollHeight + 50}px`;
            log.style.position = "relative";
            log.append(child);
        }"""
    )
    await grace.page.mouse.wheel(0, -10_000)
    await expect(grace.said.first).to_be_in_viewport(ratio=1)
    await ada.say("hello")
    await expect(grace.said).to_have_count(16)
    await expect(grace.said.first).to_be_in_viewport(ratio=1)


async def test_an_empty_chat(guests: Guests, memory: str) -> None:
    """An empty chat invites to share the link, with a button that copies it, until there is a message."""
    ada, grace = (
        await guests.invite("Ada", permissions=["clipboard-read", "clipboard-write"]),
        await guests.invite("Grace"),
    )
    code = await ada.create(memory)
    await expect(ada.by_id("invitation")).to_contain_text("Share the link to invite people.")
    await ada.page.get_by_role("button", name="Copy the link").click()
    await ada.flashed("Copied.")
    assert await ada.page.evaluate("navigator.clipboard.readText()") == f"{memory}#{code}"
    await grace.join(memory, code)
    await expect(ada.news).to_have_text(["Grace joined."])
    await expect(ada.by_id("invitation")).to_be_visible()
    await grace.say("hello")
    for guest in (ada, grace):
        await expect(guest.by_id("invitation")).to_be_hidden()


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


async def test_typing_is_shown(guests: Guests, places: Places) -> None:
    """The other pages show who is typing, until the message arrives or the guest pauses."""
    ada, grace, _ = await meet(guests, places)
    await grace.by_id("text").press_sequentially("Hi")
    await expect(ada.by_id("typing")).to_have_text("Grace is typing …")
    await expect(grace.by_id("typing")).to_be_empty()
    await grace.page.keyboard.press("Enter")
    await expect(ada.said).to_have_text(["Hi"])
    await expect(ada.by_id("typing")).to_be_empty()
    await grace.by_id("text").press_sequentially("Well")
    await expect(ada.by_id("typing")).to_have_text("Grace is typing …")
    await expect(ada.by_id("typing")).to_be_empty()


async def test_several_people_type(guests: Guests, memory: str) -> None:
    """Several people who are typing are named together, and a guest who leaves is not typing any more."""
    ada, grace, code = await meet(guests, Places(memory, memory))
    lin = await guests.invite("Lin")
    await lin.join(memory, code)

    async def both_are_shown() -> bool:
        for guest in (grace, lin):
            await guest.by_id("text").press_sequentially("x")
        return await ada.by_id("typing").inner_text() == "Grace and Lin are typing …"

    await wait_until(both_are_shown)
    await lin.page.get_by_role("button", name="Leave").click()
    await expect(ada.by_id("typing")).not_to_contain_text("Lin")


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


async def test_a_reaction(guests: Guests, places: Places) -> None:
    """Both pages show a reaction and its count, another user can join in with a click, and both can withdraw it."""
    ada, grace, _ = await meet(guests, places)
    await ada.say("hello")
    await expect(grace.said).to_have_text(["hello"])
    await grace.open_menu("hello")
    await grace.choose("Heart")
    for guest in (ada, grace):
        await expect(guest.page.locator(".chip")).to_have_text(["❤️ 1"])
    await expect(ada.page.locator(".chip")).to_have_attribute("aria-pressed", "false")
    await expect(grace.page.locator(".chip")).to_have_attribute("aria-pressed", "true")
    await ada.page.locator(".chip").click()
    for guest in (ada, grace):
        await expect(guest.page.locator(".chip")).to_have_text(["❤️ 2"])
    await expect(grace.page.locator(".chip")).to_have_attribute("title", "Heart, Grace, Ada")
    await grace.page.reload()
    await grace.page.locator(".chip").click()
    await ada.open_menu("hello")
    heart = ada.page.get_by_role("button", name="Heart", exact=True)
    await expect(heart).to_have_attribute("aria-pressed", "true")
    await ada.choose("Heart")
    for guest in (ada, grace):
        await expect(guest.page.locator(".chip")).to_have_count(0)


async def test_a_message_is_deleted(guests: Guests, places: Places) -> None:
    """An author can delete a message on all pages, and the menu of another user's message offers no deletion."""
    ada, grace, _ = await meet(guests, places)
    await grace.say("oops", "hello")
    await expect(ada.said).to_have_text(["oops", "hello"])
    await ada.open_menu("oops")
    await expect(ada.page.get_by_role("button", name="Delete")).to_be_hidden()
    await ada.page.keyboard.press("Escape")
    await expect(ada.by_id("menu")).to_be_hidden()
    await expect(grace.waiting).to_have_count(0)
    await grace.open_menu("oops")
    await grace.choose("Delete")
    for guest in (ada, grace):
        await expect(guest.said).to_have_text(["hello"])
    await grace.flashed("Message deleted.")
    await expect(grace.by_id("log")).to_be_focused()


async def test_the_last_message_is_deleted(guests: Guests, memory: str) -> None:
    """After its last message was deleted, the chat invites to share the link again."""
    ada = await guests.invite("Ada")
    await ada.create(memory)
    await ada.say("oops")
    await expect(ada.page.get_by_role("button", name="React or delete")).to_have_count(1)
    await ada.open_menu("oops")
    await ada.choose("Delete")
    await expect(ada.by_id("invitation")).to_be_visible()


async def test_a_reaction_by_keyboard(guests: Guests, memory: str) -> None:
    """With the keyboard, the arrow keys choose a message, Enter opens its menu, and Escape returns to the message."""
    ada = await guests.invite("Ada")
    await ada.create(memory)
    await ada.say("first", "second", "third")
    await expect(ada.page.locator(".more")).to_have_count(3)
    keys = ada.page.keyboard
    await ada.by_id("log").focus()
    await keys.press("Tab")
    await expect(ada.page.locator(".more").nth(2)).to_be_focused()
    await keys.press("ArrowUp")
    await keys.press("ArrowUp")
    await expect(ada.page.locator(".more").nth(0)).to_be_focused()
    await keys.press("Enter")
    await expect(ada.page.locator(".emoji").nth(0)).to_be_focused()
    await keys.press("Escape")
    await expect(ada.by_id("menu")).to_be_hidden()
    await expect(ada.page.locator(".more").nth(0)).to_be_focused()
    await keys.press("Enter")
    await keys.press("Tab")
    await keys.press("Enter")
    await expect(ada.page.locator(".message").nth(0).locator(".chip")).to_have_text(["❤️ 1"])
    await expect(ada.page.locator(".more").nth(0)).to_be_focused()
    await keys.press("Tab")
    await expect(ada.by_id("text")).to_be_focused()
