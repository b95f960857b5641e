"""The output, the secrets and the exit codes of the command line."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from chaos.server import emptied
from command_line import on_redis, on_store, wnc_store
from processes import WNC_STORE, run
from redis_server import RedisServer
from wnc_store import VideoState, cli, open_store
from wnc_store_contract import StoreContract, clauses_of
from wnc_store_contract.factories import message, room

SECRET = "SECRET-9f1c"


@pytest.fixture
async def url(redis_server: RedisServer) -> AsyncIterator[str]:
    """Database 3 with a room A of two users, 25 messages and an index entry without a room."""
    url = redis_server.url.replace("/0", "/3")
    async with emptied(url) as client:
        async with open_store(url) as store:
            await store.rooms.create_room(room("A", "host", "guest", host_token=SECRET))
            await store.rooms.update_video_state("A", VideoState(is_playing=True, current_time=5, duration=60))
            for number in range(25):
                await store.chat.add_message(message(number, "A"))
        await client.sadd("active-rooms", "dead")
        yield url


def as_json(*arguments: str) -> Any:
    """Run a command and return its parsed JSON output."""
    return json.loads(wnc_store(*arguments, "--json").stdout)


def test_rooms_lists_the_active_rooms(url: str) -> None:
    """`rooms` lists only existing rooms, with host, number of users and remaining TTL."""
    shown = wnc_store("rooms", "--url", url).stdout
    assert "1 active room" in shown
    assert "Name of host" in shown
    assert re.search(r"23:[345]\d:\d\d", shown)
    (listed,) = as_json("rooms", "--url", url)
    assert 80_000 < listed.pop("ttlSeconds") <= 86_400
    assert listed == {
        "id": "A",
        "readable": True,
        "hostId": "host",
        "hostName": "Name of host",
        "users": 2,
        "rev": 2,
        "videoUrl": None,
        "isPlaying": True,
        "createdAt": "2026-01-01T12:00:00.125Z",
    }


def test_rooms_lists_unreadable_rooms(url: str) -> None:
    """`rooms` lists a corrupt room as unreadable, lists the other rooms too, and reports that a limit omitted rooms."""
    on_redis(url, lambda plain: plain.set("room:B", SECRET))
    on_redis(url, lambda plain: plain.sadd("active-rooms", "B"))
    shown = wnc_store("rooms", "--url", url).stdout
    assert "unreadable" in shown
    assert "no expiry" in shown
    assert "Name of host" in shown
    assert SECRET not in shown
    assert {"id": "B", "readable": False, "ttlSeconds": None} in as_json("rooms", "--url", url)
    assert "Showing 1 of 2 rooms." in wnc_store("rooms", "--url", url, "--limit", "1").stderr


def test_show_hides_the_token(url: str) -> None:
    """`show` prints everything about a room except the host token."""
    shown = wnc_store("show", "A", "--url", url).stdout
    assert "set (not shown)" in shown
    assert "playing at 0:00:05 / 0:01:00" in shown
    assert "guest" in shown
    found = as_json("show", "A", "--url", url)
    assert found["room"]["users"][1]["id"] == "guest"
    assert SECRET not in shown + json.dumps(found)


def test_show_fails_for_an_unknown_room(url: str) -> None:
    """`show` exits 1 for a room that does not exist and 2 for an invalid id."""
    assert "room 'B' not found" in wnc_store("show", "B", "--url", url, code=1).stderr
    assert "invalid room id" in wnc_store("show", "B*", "--url", url, code=2).stderr


def test_chat_shows_the_messages(url: str) -> None:
    """`chat` prints the stored messages, oldest first, or only the newest ones."""
    shown = wnc_store("chat", "A", "--url", url).stdout
    assert "20 messages in A" in shown
    assert "2026-01-01T00:00:00.024Z" in shown
    messages = as_json("chat", "A", "--url", url, "--limit", "2")
    assert [entry["message"] for entry in messages] == ["text 23", "text 24"]


def test_texts_of_guests_are_sanitized(url: str) -> None:
    """Control characters and markup in texts of guests do not reach the terminal as such."""
    on_store(url, lambda store: store.chat.add_message(message(99, "A", message="\x1b[2J[red]x[/red]\r\n\ud83d")))
    shown = wnc_store("chat", "A", "--url", url, "--limit", "1").stdout
    assert "\x1b" not in shown
    assert "[red]x[/red]" in shown
    assert as_json("chat", "A", "--url", url, "--limit", "1")[0]["message"] == "\x1b[2J[red]x[/red]\r\n\ud83d"


def test_a_terminal_without_unicode(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the encoding of the terminal lacks are printed as escapes, and tables are drawn in ASCII."""
    on_store(url, lambda store: store.chat.add_message(message(99, "A", message="caf\u00e9 \U0001f37f")))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["wnc-store", "chat", "A", "--url", url, "--limit", "1"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    terminal.seek(0)
    assert r"caf\xe9 \U0001f37f" in terminal.read()


def test_sweep_reports_the_removed_entries(url: str) -> None:
    """`sweep` removes index entries of expired rooms and prints their number."""
    assert as_json("sweep", "--url", url) == {"removed": 1}
    assert "removed 0 expired rooms" in wnc_store("sweep", "--url", url).stdout


def test_limits_shows_connections_and_hits(url: str) -> None:
    """`limits` prints the connections and hits of a client, and resets the hits with --reset."""
    on_store(url, lambda store: store.connections.acquire("1.2.3.4", "c1"))
    on_store(url, lambda store: store.rate_limits.hit("1.2.3.4", 360))
    shown = wnc_store("limits", "1.2.3.4", "--url", url).stdout
    assert "1.2.3.4: 1 connection" in shown
    assert "0 of 360 hits remaining in this window, blocked for 0:0" in shown
    assert "next hit allowed" in wnc_store("limits", "1.2.3.4", "--url", url, "--reset").stdout
    assert as_json("limits", "1.2.3.4", "--url", url) == {
        "key": "1.2.3.4",
        "connections": 1,
        "allowed": True,
        "remaining": 360,
        "limit": 360,
        "resetAfterSeconds": 0.0,
    }


def test_ping_measures(url: str) -> None:
    """`ping` prints the round-trip time."""
    assert as_json("ping", "--url", url)["ok"] is True
    assert "ms" in wnc_store("ping", "--url", url).stdout


def test_no_server_is_exit_3() -> None:
    """Commands exit 3 if no server replies, and do not print the password."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for command in (["ping", "--url"], ["rooms"], ["show", "A"], ["verify"], ["doctor"], ["top"]):
        result = wnc_store(*command, f"redis://:{SECRET}@127.0.0.1:{port}/0", code=3)
        assert f"127.0.0.1:{port}" in result.output
        assert SECRET not in result.output


def test_the_in_memory_default_is_reported() -> None:
    """Without a URL, commands report that they use an empty in-memory store."""
    assert "WNC_STORE_URL" in wnc_store("rooms").stderr


def test_a_wrong_url_is_exit_2() -> None:
    """A URL without a backend exits 2 and prints the installed schemes."""
    result = wnc_store("ping", "--url", f"mysql://{SECRET}@host", code=2)
    assert "redis://" in result.stderr
    assert SECRET not in result.output


DEMO = ("messages: 20, from 'message 6'", "host is now: Grace", "room exists: False", "after the last user left: None")


@pytest.mark.parametrize("on_server", [False, True])
def test_demo_shows_the_life_cycle_of_a_room(url: str, *, on_server: bool) -> None:
    """`demo` shows 20 of 25 messages, a change of host, expiry and a deletion, and leaves no key behind on Redis."""
    output = wnc_store("demo", *(("--url", url) if on_server else ())).stdout
    assert [line for line in DEMO if line not in output] == []
    assert [listed["id"] for listed in as_json("rooms", "--url", url)] == ["A"]


def test_verify_refuses_a_nonempty_database(url: str) -> None:
    """`verify` exits 2 if the database is not empty."""
    assert "not empty" in wnc_store("verify", url, code=2).stderr


@pytest.mark.parametrize("part", range(4))
def test_verify_keeps_existing_data(url: str, part: int) -> None:
    """No clause that `verify --allow-nonempty` runs changes existing data."""
    names = [name for name in clauses_of(StoreContract) if name != "test_any_sequence_of_operations"][part::4]
    report = as_json("verify", url, "--allow-nonempty", *(word for name in names for word in ("--only", name)))
    assert (report["level"], report["problem"], report["failed"], report["skipped"]) == ("selected", None, 0, 0)
    assert report["passed"] >= len(names)
    assert SECRET not in json.dumps(report)
    assert as_json("show", "A", "--url", url)["room"]["rev"] == 2
    assert (
        as_json("rooms", "--url", url)[0]["ttlSeconds"] > 43_200
    )  # clauses advance only the time of keys that they wrote


SOME = (
    "--only",
    "test_twenty_messages_are_kept",
    "--only",
    "room_is_stored_as_node_json",
    "--only",
    "lost_connection_produces",
)


def test_verify_prints_skips_by_reason_and_the_level() -> None:
    """`verify` prints one line per undeclared capability, and the level with the version of the suite."""
    shown = wnc_store("verify", "memory://", *SOME).stdout
    assert re.fullmatch(
        r"1 skipped: disconnect\n\d+ skipped: raw\n"
        rf"level: selected \(1 passed, \d+ skipped; contract suite {version('wnc-store')}, \d+ of \d+ clauses\)\n",
        shown,
    ), shown


def test_verify_lists_all_clauses_on_request() -> None:
    """`verify --all` prints every rule with its outcome, too."""
    shown = wnc_store("verify", "memory://", *SOME, "--all").stdout
    assert re.search(r"A chat keeps the last 20 messages.*passed", shown)
    assert re.search(r"After lost connections.*skipped", shown)


def test_verify_reports_as_json() -> None:
    """`verify --json` prints the version of the suite, the level, and each clause with its rule and outcome."""
    report = as_json("verify", "memory://", "--only", "twenty_messages_are_kept")
    (clause,) = report.pop("clauses")
    assert clause["name"] == "test_twenty_messages_are_kept"
    assert clause["rule"].startswith("A chat keeps the last 20 messages")
    assert (clause["outcome"], clause["detail"]) == ("passed", "")
    counts = {"passed": 1, "failed": 0, "skipped": 0, "faults": None}
    suite = version("wnc-store")
    assert report == {"target": "memory://", "suite": suite, "level": "selected", "problem": None, **counts}


def test_verify_refuses_a_pattern_without_clauses() -> None:
    """`verify --only` exits 2 if no clause matches."""
    assert (
        "no clause matches 'nothing like it'"
        in wnc_store("verify", "memory://", "--only", "nothing like it", code=2).stderr
    )


BROKEN = """
from wnc_store_contract import StoreContract
from wnc_store_contract.memory import MemoryHarness

class Broken(MemoryHarness):
    def open_store(self, **settings):
        return super().open_store(**{'chat_history_limit': 19, **settings})

    async def advance(self, seconds):
        raise RuntimeError("time stands still")

class TestMine(StoreContract):
    def make_harness(self):
        return Broken()
"""


def test_verify_takes_a_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify --harness` imports a class from the working directory; a broken backend exits 1 and names the clause."""
    (tmp_path / "mine_for_verify.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    result = wnc_store("verify", "--harness", "mine_for_verify:Broken", "--only", "twenty_messages_are_kept", code=1)
    assert "failed test_twenty_messages_are_kept: A chat keeps the last 20 messages" in result.stdout
    assert re.search(r"^    chat\.py:\d+: expected \[.*\], got \['m", result.stdout, re.MULTILINE)
    assert list(tmp_path.glob(".*")) == []
    assert "level: none" in result.stdout


def test_verify_stops_after_a_failure_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify --fail-fast` runs no clause after the first one that fails."""
    (tmp_path / "failing_for_verify.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    done = wnc_store("verify", "--harness", "failing_for_verify:Broken", "--fail-fast", "--json", code=1)
    report = json.loads(done.stdout)
    outcomes = [clause["outcome"] for clause in report["clauses"]]
    assert (report["level"], outcomes.count("failed"), outcomes[-1]) == ("none", 1, "failed")
    assert len(outcomes) < len(clauses_of(StoreContract))


def test_verify_prints_failures_last(tmp_path: Path) -> None:
    """Failures come last, with their rule and the compared values; a harness's error is one line."""
    (tmp_path / "test_mine.py").write_text(BROKEN)
    only = ("--only", "concurrent_messages_are_all_kept", "--only", "any_sequence_of_operations")
    command = (*WNC_STORE, "verify", "--harness", "test_mine:Broken", *only)
    done = run(*command, cwd=tmp_path, env={**os.environ, "CI": "true"}, code=1)
    assert re.search(
        r"^failed test_concurrent_messages_are_all_kept: Concurrent messages .*\n"
        r"    concurrency\.py:\d+: expected 20, got 19\n"
        r"failed test_any_sequence_of_operations: Any sequence .*\n"
        r"    the harness failed: RuntimeError: time stands still, in advance \(test_mine\.py:\d+\)\n"
        r"    state = StoreMachine\(\)\n"
        r"(    state\..*\n)+"
        r"level: none",
        done.stdout,
        re.MULTILINE,
    ), done.stdout


@pytest.mark.parametrize("name", ["nowhere:Harness", "json:loads", "json:nothing", "json", ":"])
def test_verify_refuses_other_objects_than_harnesses(name: str) -> None:
    """`verify --harness` exits 2 for a missing object or one that is not a harness, and prints the expected form."""
    assert "arness" in wnc_store("verify", "--harness", name, code=2).stderr


@pytest.mark.parametrize("arguments", [[], ["memory://", "--harness", "a:B"], ["mysql://x"], ["memory://x"]])
def test_verify_needs_exactly_one_target(arguments: list[str]) -> None:
    """`verify` exits 2 unless it gets either a URL with a known scheme or a harness."""
    wnc_store("verify", *arguments, code=2)


def test_help_lists_the_commands() -> None:
    """Without arguments the program lists its commands by purpose, including those registered by entry points."""
    output = wnc_store(code=2).output
    _, *panels = re.split(r"─ (Look|Change|Verify|Measure) ─", output)
    rows = dict(zip(panels[::2], panels[1::2], strict=True))
    listed = {panel: set(re.findall(r"^│ ([a-z]+) ", text, re.MULTILINE)) for panel, text in rows.items()}
    assert listed == {
        "Look": {"rooms", "show", "chat", "limits", "watch", "export", "demo"},
        "Change": {"delete", "sweep", "import", "migrate"},
        "Verify": {"ping", "doctor", "verify"},
        "Measure": {"top", "bench"},
    }


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without typer or rich, the error names the extra to install."""
    nothing: dict[str, object] = {}
    monkeypatch.setattr(cli, "find_spec", nothing.get)
    with pytest.raises(SystemExit, match=r"wnc-store\[cli\]"):
        cli.main()


def test_show_reports_a_missing_token(url: str) -> None:
    """`show` prints "none" for a room without a host token."""
    on_store(url, lambda store: store.rooms.create_room(room("T", host_token=None)))
    assert "none" in wnc_store("show", "T", "--url", url).stdout


def test_doctor_reports_a_wrong_configuration(redis_server: RedisServer) -> None:
    """`doctor` prints a failed check with a fix and exits 1; it exits 0 if all checks pass."""
    assert "noeviction" in wnc_store("doctor", redis_server.url).stdout
    on_redis(redis_server.url, lambda plain: plain.config_set("maxmemory-policy", "allkeys-lru"))
    try:
        shown = wnc_store("doctor", redis_server.url, code=1).stdout
        report = json.loads(wnc_store("doctor", redis_server.url, "--json", code=1).stdout)
    finally:
        on_redis(redis_server.url, lambda plain: plain.config_set("maxmemory-policy", "noeviction"))
    assert "allkeys-lru" in shown
    assert "CONFIG SET maxmemory-policy noeviction" in shown
    assert report["ok"] is False
    assert "1 error" in shown
    assert {"eviction": "error"}.items() <= {check["name"]: check["status"] for check in report["checks"]}.items()
