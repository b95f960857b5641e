"""The players of the page in a real browser, with a fake of YouTube's API."""

from __future__ import annotations

import io
import re
import wave
from pathlib import Path

import pytest
from playwright.async_api import Route, expect

from browser_page import Guests, Places, later, meet, wait_until_in_sync
from waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
_API = "https://www.youtube.com/iframe_api"


async def test_youtube(guests: Guests, memory: str) -> None:
    """A YouTube video is played in sync by YouTube's player, which determines its duration."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    for guest in (ada, grace):
        await guest.page.route(_API, _fake_youtube)
    await grace.join(memory, await ada.create(memory))
    await ada.watch("https://youtu.be/dQw4w9WgXcQ?t=3")
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
    """If YouTube cannot be reached, the page shows a drawn film and a notice, and tries again on request."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    for guest in (ada, grace):
        await guest.page.route(_API, lambda route: route.abort())
    await ada.watch("https://youtu.be/dQw4w9WgXcQ")
    for guest in (ada, grace):
        await expect(guest.by_id("notice")).to_have_text(
            "YouTube cannot be reached. A drawn film is shown instead, in sync with the others."
        )
    await ada.play.click()
    await ada.seek(60)
    await expect(grace.time).to_have_text(later(1, 0))
    await wait_until_in_sync(ada, grace)
    await grace.page.unroute(_API)
    await grace.page.route(_API, _fake_youtube)
    await grace.page.get_by_role("button", name="Try again").click()
    await expect(grace.page.get_by_title("dQw4w9WgXcQ")).to_be_visible()
    await expect(grace.by_id("notice")).to_be_empty()
    await expect(grace.by_id("retry")).to_be_hidden()
    await wait_until_in_sync(ada, grace)


async def test_youtube_is_never_ready(guests: Guests, memory: str) -> None:
    """While YouTube's player is not ready, the page shows that it is loading, and after some seconds a drawn film."""
    ada = await guests.invite("Ada")
    await ada.page.route(_API, _fake_youtube)
    await ada.page.add_init_script("window.youTubeIsNeverReady = true;")
    await ada.create(memory)
    await ada.watch("https://youtu.be/dQw4w9WgXcQ")
    await expect(ada.page.get_by_text("Loading the video …")).to_be_visible()
    await expect(ada.by_id("notice")).to_contain_text("YouTube cannot be reached.")
    await expect(ada.page.locator("canvas")).to_be_visible()
    await expect(ada.by_id("loading")).to_be_hidden()


async def test_a_link_is_no_video(guests: Guests, memory: str) -> None:
    """A link that is not a video gives a notice, stays in the form for correction, and does not change the video."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    await ada.watch("https://example.org/page")
    await expect(ada.by_id("notice")).to_contain_text("This link is not a video.")
    await expect(ada.by_id("video-url")).to_have_value("https://example.org/page")
    await ada.watch("https://video.example/nothing.mp4")
    await expect(ada.by_id("video-url")).to_have_value("")
    await expect(grace.news).to_have_text(["Ada chose a video."])
    await ada.page.get_by_role("button", name="Built-in film").click()
    await expect(grace.news).to_have_text(["Ada chose a video.", "Ada changed the video."])


async def test_the_volume(guests: Guests, memory: str) -> None:
    """The volume of a video can be changed and muted, applies to the next video, and a film has none."""
    ada = await guests.invite("Ada")
    await ada.page.route(_API, _fake_youtube)
    await ada.create(memory)
    await ada.watch("https://youtu.be/dQw4w9WgXcQ")
    volume = "youTubePlayer.volume"
    await ada.by_id("volume").fill("40")
    await wait_until(lambda: ada.page.evaluate(f"{volume} === 40"))
    mute = ada.page.get_by_role("button", name="Mute")
    await mute.click()
    await expect(mute).to_have_attribute("aria-pressed", "true")
    assert await ada.page.evaluate(volume) == 0
    await mute.click()
    await expect(mute).to_have_attribute("aria-pressed", "false")
    assert await ada.page.evaluate(volume) == 40
    await ada.page.get_by_role("button", name="Built-in film").click()
    await expect(mute).to_be_hidden()
    await ada.watch("https://youtu.be/abcdefghijk")
    await expect(mute).to_be_visible()
    await wait_until(lambda: ada.page.evaluate(f"{volume} === 40"))


async def test_full_screen(guests: Guests, memory: str) -> None:
    """In full screen, the page shows only the video with its controls, and leaving the room ends it."""
    ada, grace, _ = await meet(guests, Places(memory, memory))
    await ada.watch_the_film()
    for guest in (ada, grace):
        button = guest.page.get_by_role("button", name="Full screen")
        await button.click()
        await expect(button).to_have_attribute("aria-pressed", "true")
        for element_id in ("text", "people", "video-form", "leave"):
            await expect(guest.by_id(element_id)).to_be_hidden()
        for element_id in ("stage", "seek"):
            await expect(guest.by_id(element_id)).to_be_in_viewport(ratio=1)
    await ada.page.get_by_role("button", name="Full screen").click()
    await expect(ada.by_id("text")).to_be_visible()
    ada.page.on("dialog", lambda dialog: dialog.accept())
    await ada.page.get_by_role("button", name="End for all").click()
    await expect(grace.by_id("ended")).to_be_visible()
    await wait_until(lambda: grace.page.evaluate("document.fullscreenElement === null"))


async def test_a_file(guests: Guests, memory: str) -> None:
    """A video file is played in sync by the browser, and a drawn film replaces a missing file."""
    ada, grace = await guests.invite("Ada"), await guests.invite("Grace")
    for guest in (ada, grace):
        await guest.page.route("https://video.example/silence.mp4", _silence)
        await guest.page.route("https://video.example/nothing.mp4", lambda route: route.fulfill(status=404))
    await grace.join(memory, await ada.create(memory))
    await ada.watch("https://video.example/silence.mp4")
    await expect(ada.time).to_have_text("0:00 / 10:00")
    await ada.play.click()
    await ada.seek(20)
    await expect(grace.time).to_have_text(later(0, 20))
    await wait_until_in_sync(ada, grace)
    assert await grace.page.evaluate("document.querySelector('video').currentTime") > 20
    await ada.watch("https://video.example/nothing.mp4")
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
