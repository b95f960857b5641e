"""The layout of the command line: narrow terminals, durations, checks, help and completion."""

from __future__ import annotations

import math
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.cells import cell_len

from command_line import on_store, wnc_store
from processes import WNC_STORE, run
from wnc_store import HealthCheck, HealthReport, VideoState
from wnc_store.cli.output import format_age, format_seconds, format_state, format_ttl
from wnc_store_contract.factories import message, room
from wnc_store_memory import MemoryStore

NOW = datetime(2026, 5, 1, tzinfo=UTC)
URL_OF_VIDEO = "https://videos.example/a/very/long/path/to/a/film/that/does/not/fit.m3u8"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with two rooms whose texts are longer than a narrow terminal is wide."""
    store_url = f"sqlite://{tmp_path}/rooms.db"
    for room_id in ("A3X9K2", "an-id-that-somebody-has-chosen-and-that-is-much-too-long-for-it"):
        long = room(
            room_id,
            "host",
            "guest",
            host_name="A host with a long name 漢字" * 3,
            video_url=URL_OF_VIDEO,
            host_token="S",
        ).with_extra({"settings": {"text": "x" * 200}})
        on_store(store_url, lambda store, long=long: store.rooms.create_room(long))
    for number in range(3):
        text = message(number, "A3X9K2", message="a message of many words " * 20)
        on_store(store_url, lambda store, text=text: store.chat.add_message(text))
    return store_url


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("rooms", 4),  # title, header and two rooms
        ("show A3X9K2", 10 + 3 + 4),
        ("chat A3X9K2", 5),
        ("top --once", 4 + 4),  # two sentences, which are wrapped
    ],
)
def test_rows_are_cropped(url: str, command: str, lines: int) -> None:
    """On a terminal of 60 columns each row has one line, which is cropped."""
    shown = wnc_store(*command.split(), "--url", url, width=60).stdout.splitlines()
    assert [line for line in shown if cell_len(line) > 60] == []
    assert (len(shown), "…" in "".join(shown)) == (lines, True)


def test_the_id_and_figures_are_kept(url: str) -> None:
    """On a terminal of 60 columns `rooms` shows the whole id, number of users, state and TTL of a room."""
    (row,) = [line for line in wnc_store("rooms", url, width=60).stdout.splitlines() if "A3X9K2" in line]
    assert re.match(r"A3X9K2 +A host.*…  2 +https:.*…  paused +\d+ (s|min|h|d) +\d+:\d\d:\d\d", row)


def test_output_to_a_pipe_is_not_cropped(url: str) -> None:
    """Rows are not cropped if standard output is not a terminal, unless COLUMNS sets a width."""
    environment = {**os.environ}  # without COLUMNS, which the readline of this process adds for its children
    assert URL_OF_VIDEO in run(*WNC_STORE, "rooms", url, env=environment).stdout
    cropped = run(*WNC_STORE, "rooms", url, env={**environment, "COLUMNS": "60"}).stdout
    assert max(map(cell_len, cropped.splitlines())) <= 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (59.9, "0:00:59"),
        (3725, "1:02:05"),
        (360_000, "100:00:00"),
        (-61, "-0:01:01"),
        (-0.5, "0:00:00"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
    ],
)
def test_seconds_as_text(seconds: float, text: str) -> None:
    """Seconds are printed as hours, minutes and seconds."""
    assert format_seconds(seconds) == text


def test_states_as_text() -> None:
    """A state is printed with the position and, if it is known, the duration."""
    assert format_state(VideoState(is_playing=True, current_time=3725, duration=7200)) == "playing at 1:02:05 / 2:00:00"
    assert format_state(VideoState(current_time=5)) == "paused at 0:00:05"
    assert format_state(VideoState(current_time=math.nan, duration=math.nan)) == "paused at unknown"


def test_ttls_as_text() -> None:
    """A TTL is printed in hours, also if it is longer than a day."""
    assert [format_ttl(ttl) for ttl in (None, timedelta.max, timedelta(days=2), timedelta(seconds=1.9))] == [
        "expired",
        "no expiry",
        "48:00:00",
        "0:00:01",
    ]


def test_ages_as_text() -> None:
    """An age is printed in its largest unit: 0 s for a future date, and unknown for an invalid date."""
    ages = (timedelta(days=3), timedelta(hours=5), timedelta(minutes=2), timedelta(seconds=7), timedelta(days=-1))
    assert [format_age(NOW - age, NOW) for age in ages] == ["3 d", "5 h", "2 min", "7 s", "0 s"]
    invalid = room().model_validate({**room().to_json(), "createdAt": None}).created_at
    assert format_age(invalid, NOW) == "unknown"


@pytest.mark.parametrize("width", [60, 200])
def test_unknown_is_not_ok(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` prints that an unknown check is not ok and exits 1, and wraps details and hints."""
    words = "permit the user of the store to read the configuration of its server"
    checks = HealthCheck("ping", "ok", "replied"), HealthCheck("eviction", "unknown", "INFO was denied", words)

    async def health(_: object) -> HealthReport:
        return HealthReport("MemoryStore", None, 0.1, checks)

    monkeypatch.setattr(MemoryStore, "health", health)
    shown = wnc_store("doctor", "memory://", width=width, code=1).stdout
    assert re.search(r"^unknown +eviction +INFO was denied", shown, re.MULTILINE)
    assert words in " ".join(shown.split())
    assert "1 ok, 1 unknown\nAn unknown check is not ok" in shown
    checks = checks[:1]
    assert "not ok" not in wnc_store("doctor", "memory://", width=width).stdout


def test_the_shell_completes_commands() -> None:
    """The program completes the names of commands, and offers to install the completion."""
    environment = {
        **os.environ,
        "_WNC_STORE_COMPLETE": "complete_bash",
        "COMP_WORDS": "wnc-store ro",
        "COMP_CWORD": "1",
    }
    program = str(Path(WNC_STORE[0]).with_name("wnc-store"))
    assert run(program, env=environment).stdout.split() == ["rooms"]
    assert "--install-completion" in wnc_store("--help").stdout
