"""The command line: what it prints, what it hides, and its exit codes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from command_line import wnc_store
from few_clauses import few_clauses
from processes import run
from redis_server import RedisServer
from wnc_store import Room, User, VideoState, cli, open_store
from wnc_store_contract import StoreContract, clauses_of
from wnc_store_contract.factories import message, room

SECRET = "SECRET-9f1c"


def plain_client(where: str) -> Any:
    """Return a client without types: redis-py's are half for the synchronous one."""
    return Redis.from_url(where)  # pyright: ignore[reportUnknownMemberType]


@pytest.fixture
def url(redis_server: RedisServer) -> Any:
    """Database 3, emptied, with a room A of two users, a dead index entry and 25 messages."""
    where = redis_server.url.replace("/0", "/3")

    async def fill() -> None:
        async with plain_client(where) as client:
            await client.flushdb()
            async with open_store(where) as store:
                await store.rooms.create_room(room("A", "host", "guest", host_token=SECRET))
                await store.rooms.update_video_state("A", VideoState(is_playing=True, current_time=5))
                for number in range(25):
                    await store.chat.add_message(message(number, "A"))
            await client.sadd("active-rooms", "dead")

    async def empty() -> None:
        async with plain_client(where) as client:
            await client.flushdb()

    asyncio.run(fill())
    yield where
    asyncio.run(empty())


def as_json(*arguments: str) -> Any:
    """Run the command line and read its JSON."""
    return json.loads(wnc_store(*arguments, "--json").stdout)


def test_rooms_lists_the_active_rooms(url: str) -> None:
    """`rooms` lists live rooms only, with host, number of users and what is left of their TTL."""
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
    }


def test_rooms_shows_what_can_not_be_read(url: str) -> None:
    """A corrupt room is listed as such and hides no other; a limit says that there are more."""

    async def spoil() -> None:
        async with plain_client(url) as client:
            await client.set("room:B", SECRET)
            await client.sadd("active-rooms", "B")

    asyncio.run(spoil())
    shown = wnc_store("rooms", "--url", url).stdout
    assert "can't be read" in shown
    assert "never expires" in shown
    assert "Name of host" in shown
    assert SECRET not in shown
    assert {"id": "B", "readable": False, "ttlSeconds": None} in as_json("rooms", "--url", url)
    assert "more than 1 rooms" in wnc_store("rooms", "--url", url, "--limit", "1").stderr


def test_show_hides_the_token(url: str) -> None:
    """`show` tells all about a room but the host token."""
    shown = wnc_store("show", "A", "--url", url).stdout
    assert "set (not shown)" in shown
    assert "playing at 5" in shown
    assert "guest" in shown
    found = as_json("show", "A", "--url", url)
    assert found["room"]["users"][1]["id"] == "guest"
    assert SECRET not in shown + json.dumps(found)


def test_show_of_no_room_fails(url: str) -> None:
    """`show` of a room that is not there exits 1, of a bad id 2."""
    assert "there is no live room 'B'" in wnc_store("show", "B", "--url", url, code=1).stderr
    assert "invalid room id" in wnc_store("show", "B*", "--url", url, code=2).stderr


def test_chat_shows_the_messages(url: str) -> None:
    """`chat` shows the kept messages, oldest first, or the newest so many."""
    shown = wnc_store("chat", "A", "--url", url).stdout
    assert "20 messages in A" in shown
    assert "2026-01-01T00:00:00.024Z" in shown
    messages = as_json("chat", "A", "--url", url, "--limit", "2")
    assert [one["message"] for one in messages] == ["text 23", "text 24"]


def test_guests_can_not_steer_the_terminal(url: str) -> None:
    """Control characters and markup in what guests wrote are shown, not obeyed."""

    async def say() -> None:
        async with open_store(url) as store:
            await store.chat.add_message(message(99, "A", message="\x1b[2J[red]x[/red]\r\n\ud83d"))

    asyncio.run(say())
    shown = wnc_store("chat", "A", "--url", url, "--limit", "1").stdout
    assert "\x1b" not in shown
    assert "[red]x[/red]" in shown
    assert as_json("chat", "A", "--url", url, "--limit", "1")[0]["message"] == "\x1b[2J[red]x[/red]\r\n\ud83d"


def test_a_terminal_without_unicode(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoding lacks is printed as an escape; table lines are ASCII then."""

    async def say() -> None:
        async with open_store(url) as store:
            await store.chat.add_message(message(99, "A", message="caf\u00e9 \U0001f37f"))

    asyncio.run(say())
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "argv", ["wnc-store", "chat", "A", "--url", url, "--limit", "1"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    terminal.seek(0)
    assert r"caf\xe9 \U0001f37f" in terminal.read()


def test_sweep_tells_what_it_removed(url: str) -> None:
    """`sweep` removes the entries of dead rooms and says how many."""
    assert as_json("sweep", "--url", url) == {"removed": 1}
    assert "removed 0 dead rooms" in wnc_store("sweep", "--url", url).stdout


def test_guards_show_what_is_counted(url: str) -> None:
    """`limits` shows a client's connections and hits, and forgets the hits when asked to."""

    async def count() -> None:
        async with open_store(url) as store:
            await store.connections.acquire("1.2.3.4", "c1")
            await store.rate_limits.hit("1.2.3.4", 360)

    asyncio.run(count())
    shown = wnc_store("limits", "1.2.3.4", "--url", url).stdout
    assert "1.2.3.4: 1 connection" in shown
    assert "0 of 360 hits remain in this window; no hit is allowed for 0:0" in shown
    assert "the next hit is allowed" in wnc_store("limits", "1.2.3.4", "--url", url, "--reset").stdout
    assert as_json("limits", "1.2.3.4", "--url", url) == {
        "key": "1.2.3.4",
        "connections": 1,
        "allowed": True,
        "remaining": 360,
        "limit": 360,
        "resetAfterSeconds": 0.0,
    }


def test_ping_measures(url: str) -> None:
    """`ping` says how long the answer took."""
    assert as_json("ping", "--url", url)["ok"] is True
    assert "ms" in wnc_store("ping", "--url", url).stdout


def test_no_server_is_exit_3() -> None:
    """Where no server answers the exit code is 3, and the password is not repeated."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for command in (["ping", "--url"], ["rooms", "--url"], ["verify"]):
        result = wnc_store(*command, f"redis://:{SECRET}@127.0.0.1:{port}/0", code=3)
        assert f"127.0.0.1:{port}" in result.stderr
        assert SECRET not in result.output


def test_an_empty_memory_is_pointed_out() -> None:
    """Without a URL the commands look into their own memory, and say so."""
    assert "WNC_STORE_URL" in wnc_store("rooms").stderr


def test_a_wrong_url_is_exit_2() -> None:
    """A URL that no backend takes exits 2 and lists the installed schemes."""
    result = wnc_store("ping", "--url", f"postgres://{SECRET}@host", code=2)
    assert "redis://" in result.stderr
    assert SECRET not in result.output


def test_demo_tells_a_rooms_life() -> None:
    """`demo` runs in memory by itself: 20 of 25 messages, handover, expiry, empty-room deletion."""
    told = wnc_store("demo").stdout
    for fact in (
        "kept: 20, from 'message 6'",
        "host is now: Grace",
        "the room exists: False",
        "after Grace left: None",
    ):
        assert fact in told


def test_demo_leaves_nothing_behind(url: str) -> None:
    """`demo` on Redis tells the same and leaves no key of its own."""
    told = wnc_store("demo", "--url", url).stdout
    assert "the room exists: False" in told
    assert [one["id"] for one in as_json("rooms", "--url", url)] == ["A"]


def test_verify_refuses_other_peoples_data(url: str) -> None:
    """`verify` refuses a database that is not empty."""
    assert "not empty" in wnc_store("verify", url, code=2).stderr


@pytest.mark.parametrize("part", range(4))
def test_verify_leaves_other_peoples_data(url: str, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify --allow-nonempty` leaves other people's data as it was, whichever clause runs among it."""
    names = [name for name in clauses_of(StoreContract) if name != "test_any_sequence_of_operations"]
    few_clauses(monkeypatch, *names[part::4])
    report = as_json("verify", url, "--allow-nonempty")
    assert (report["level"], report["failed"], report["skipped"]) == ("full", 0, 0)
    assert SECRET not in json.dumps(report)
    assert as_json("show", "A", "--url", url)["room"]["rev"] == 2


def test_verify_reports_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` prints every rule with its outcome, a line for each thing that was not declared, and the level."""
    few_clauses(
        monkeypatch, "test_twenty_messages_are_kept", "test_what_is_trimmed_is_gone", "test_a_reader_is_told_of_a_cut"
    )
    shown = wnc_store("verify", "memory://").stdout
    assert "Of 25 messages the last 20 are kept" in shown
    assert len(re.findall(r"^\d+ skipped: ", shown, re.MULTILINE)) == 2
    assert "1 skipped: raw\n" in shown
    assert "1 skipped: disconnect\n" in shown
    assert "level: partial" in shown


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
    """`verify --harness` runs a class of the working directory; a broken backend exits 1 and says which clause."""
    (tmp_path / "mine_for_verify.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    few_clauses(monkeypatch, "test_twenty_messages_are_kept")
    result = wnc_store("verify", "--harness", "mine_for_verify:Broken", code=1)
    assert "failed test_twenty_messages_are_kept" in result.stdout
    assert "assert ['m2', 'm3'" in result.stdout
    assert list(tmp_path.glob(".*")) == []
    assert "level: none" in result.stdout


FEW = """
from unittest import mock
import pytest
from wnc_store.cli import main

whole, names = pytest.main, "test_messages_at_the_same_moment_all_count or test_any_sequence_of_operations"
with mock.patch.object(pytest, "main", lambda arguments, plugins: whole([*arguments, "-k", names], plugins)), \\
    mock.patch("sys.argv", ["wnc-store", "verify", "--harness", "test_mine:Broken"]):
    main()
"""


def test_verify_says_what_failed(tmp_path: Path) -> None:
    """What failed comes last, with its rule and what was compared; in CI, too, and if imported before."""
    (tmp_path / "test_mine.py").write_text(BROKEN)
    (tmp_path / "few.py").write_text(FEW)
    done = run(sys.executable, "few.py", cwd=tmp_path, env={**os.environ, "CI": "true"}, code=1)
    assert re.search(
        r"^failed test_messages_at_the_same_moment_all_count: Of messages that many add .*\n"
        r"    concurrency\.py:\d+: AssertionError: assert 19 == 20\n"
        r"failed test_any_sequence_of_operations: Any sequence .*\n"
        r"    test_mine\.py:\d+: RuntimeError: time stands still\n"
        r"    state = StoreMachine\(\)\n"
        r"(    state\..*\n)+"
        r"level: none",
        done.stdout,
        re.MULTILINE,
    ), done.stdout


@pytest.mark.parametrize("name", ["nowhere:Harness", "json:loads", "json:nothing", "json", ":"])
def test_verify_refuses_what_is_no_harness(name: str) -> None:
    """A harness that is not there, or is none, exits 2 and says how to name one."""
    assert "arness" in wnc_store("verify", "--harness", name, code=2).stderr


def test_verify_makes_the_harness_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that wants arguments, or lacks a method, exits 2 and says so in a line."""
    (tmp_path / "unfinished_for_verify.py").write_text(
        "from wnc_store_contract import Harness\n"
        "class Abstract(Harness):\n"
        "    pass\n"
        "class Wants(Harness):\n"
        "    def __init__(self, url): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    assert "advance" in wnc_store("verify", "--harness", "unfinished_for_verify:Abstract", code=2).stderr
    assert "url" in wnc_store("verify", "--harness", "unfinished_for_verify:Wants", code=2).stderr


@pytest.mark.parametrize("arguments", [[], ["memory://", "--harness", "a:B"], ["postgres://x"], ["memory://x"]])
def test_verify_wants_one_target(arguments: list[str]) -> None:
    """`verify` wants a URL of a known scheme, or a harness."""
    wnc_store("verify", *arguments, code=2)


def test_it_shows_its_commands() -> None:
    """Without arguments the program shows its commands."""
    assert "verify" in wnc_store(code=2).output


def test_it_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its extra the command line says which one to install."""
    nothing: dict[str, object] = {}
    monkeypatch.setattr(cli, "find_spec", nothing.get)
    with pytest.raises(SystemExit, match=r"wnc-store\[cli\]"):
        cli.main()


def test_a_room_without_a_token_says_so(url: str) -> None:
    """`show` tells when a room has no host token."""

    async def create() -> None:
        async with open_store(url) as store:
            await store.rooms.create_room(Room(id="T", host_id="u", host_name="U", users=(User(id="u", name="U"),)))

    asyncio.run(create())
    assert "none" in wnc_store("show", "T", "--url", url).stdout


def test_doctor_finds_what_is_wrong(redis_server: RedisServer) -> None:
    """`doctor` says what is wrong and what to do, and exits 1; on a server that is well it exits 0."""
    assert "noeviction" in wnc_store("doctor", redis_server.url).stdout

    async def configure(policy: str) -> None:
        async with plain_client(redis_server.url) as client:
            await client.config_set("maxmemory-policy", policy)

    asyncio.run(configure("allkeys-lru"))
    try:
        shown = wnc_store("doctor", redis_server.url, code=1).stdout
        report = json.loads(wnc_store("doctor", redis_server.url, "--json", code=1).stdout)
    finally:
        asyncio.run(configure("noeviction"))
    assert "allkeys-lru" in shown
    assert "CONFIG SET maxmemory-policy noeviction" in shown
    assert report["ok"] is False
    assert {"eviction": "error"}.items() <= {check["name"]: check["status"] for check in report["checks"]}.items()


def test_doctor_needs_an_answer() -> None:
    """`doctor` without an answer exits 3 and says which server it asked."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert f"127.0.0.1:{port}" in wnc_store("doctor", f"redis://127.0.0.1:{port}", code=3).stdout
