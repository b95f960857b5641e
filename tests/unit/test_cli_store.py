"""The store that a command uses: its URL as an argument or an option, and the key prefix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import on_store, wnc_store
from wnc_store import StoreSettings, open_store
from wnc_store.cli.store import StoreOptions, store_command
from wnc_store_contract.factories import message, room
from wnc_store_contract.memory import MemoryHarness


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a store with a room A and a chat. Its key prefix is app:."""
    store_url = f"sqlite://{tmp_path}/rooms.db"

    async def fill(_: object) -> None:
        async with open_store(store_url, settings=StoreSettings(key_prefix="app:")) as store:
            await store.rooms.create_room(room("A"))
            await store.chat.add_message(message(1, "A"))

    on_store("memory://", fill)
    return store_url


COMMANDS = {
    "rooms": "--json",
    "show": "A --json",
    "chat": "A --json",
    "delete": "A --yes --json",
    "sweep": "--json",
    "ping": "--json",
    "doctor": "--json",
    "top": "--once --json",
    "export": "",
    "demo": "",
}
"""The commands that can use any store, with their other arguments."""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("place", ["{url} {rest}", "{rest} {url}", "{rest} --url {url}", "--url={url} {rest}"])
def test_the_url_is_an_argument_or_an_option(url: str, command: str, place: str) -> None:
    """Each command takes the URL before or after its other arguments, or with --url, and a --key-prefix."""
    arguments = place.format(url=url, rest=COMMANDS[command]).split()
    result = wnc_store(command, *arguments, "--key-prefix", "app:")
    assert "in-memory" not in result.stderr
    if command in {"rooms", "show", "chat", "delete", "export"}:
        assert "A" in result.stdout


@pytest.mark.parametrize("place", ["{url}", "--url {url}"])
def test_verify_and_bench_take_the_url_likewise(place: str) -> None:
    """`verify` and `bench` take the URL as an argument or with --url, and check a --key-prefix."""
    target = place.format(url="memory://").split()
    clause = "--only", "ping_succeeds", "--json"
    for prefix in ((), ("--key-prefix", "app:")):
        assert json.loads(wnc_store("verify", *target, *prefix, *clause).stdout)["passed"] == 1
    assert "the benchmark needs the URL" in wnc_store("bench", *target, code=2).stderr
    for command in ("verify", "bench"):
        stderr = wnc_store(command, "redis://127.0.0.1:1", "--key-prefix", "x" * 33, code=2).stderr
        assert stderr.startswith("error: invalid --key-prefix: ")


def test_the_key_prefix_selects_the_data(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """--key-prefix wins over the environment variable, also if it is empty."""
    assert wnc_store("rooms", url).stdout == "No rooms.\n"
    monkeypatch.setenv("WNC_STORE_KEY_PREFIX", "app:")
    assert "1 active room" in wnc_store("rooms", url).stdout
    assert wnc_store("rooms", url, "--key-prefix", "").stdout == "No rooms.\n"


def test_the_environment_names_the_default(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL the commands use WNC_STORE_URL, except `verify` and `import`, which require a URL."""
    monkeypatch.setenv("WNC_STORE_URL", url)
    monkeypatch.setenv("WNC_STORE_KEY_PREFIX", "app:")
    assert "1 active room" in wnc_store("rooms").stdout
    assert "expected the URL of the target store" in wnc_store("import", "rooms.jsonl", code=2).stderr
    assert "expected either a URL or --harness" in wnc_store("verify", code=2).stderr


@pytest.mark.parametrize("command", ["rooms", "ping", "top --once", "demo", "verify --only ping"])
def test_an_invalid_key_prefix(command: str) -> None:
    """A key prefix with other characters exits 2 before the store is opened."""
    name, *options = command.split()
    stderr = wnc_store(name, "redis://127.0.0.1:1", *options, "--key-prefix", "a*", code=2).stderr
    assert stderr.startswith("error: invalid --key-prefix: ")


def test_a_missing_argument_is_named() -> None:
    """If the URL is in the place of another argument, the error names the missing one."""
    for command, argument in {"show": "ROOM", "delete": "ROOM", "limits": "KEY", "import": "FILE"}.items():
        stderr = wnc_store(command, "redis://127.0.0.1:1", code=2).stderr
        assert stderr == f"error: the argument {argument} is missing; see the --help of the command\n"


def test_two_urls_are_refused() -> None:
    """A URL as an argument and another one with --url exit 2."""
    stderr = wnc_store("rooms", "memory://", "--url", "memory://", code=2).stderr
    assert stderr == "error: pass the store URL as an argument or with --url, not both\n"


def test_the_options_do_not_show_the_url() -> None:
    """The repr of the options of a store does not contain the URL, which may contain a password."""
    assert "SECRET" not in repr(StoreOptions("redis://:SECRET@host", "app:"))


def test_a_command_of_another_package() -> None:
    """A function that is decorated with `store_command` receives the store as its first argument."""
    received: list[Any] = []

    @store_command
    def mine(store_options: StoreOptions, room: str, *, often: int = 1) -> None:
        received.extend((store_options, room, often))

    mine(room="A", url_argument="memory://", url_option=None, key_prefix="p", often=2)
    assert received == [StoreOptions("memory://", "p"), "A", 2]


async def test_the_harness_of_the_memory_backend_has_a_prefix() -> None:
    """The memory harness puts its key prefix before that of a clause."""
    harness = MemoryHarness(key_prefix="app:")
    async with harness.open_store() as plain, harness.open_store(key_prefix="x:") as other:
        await plain.rooms.create_room(room("A"))
        assert not await other.rooms.room_exists("A")
