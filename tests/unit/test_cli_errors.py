"""What the command line says of mistakes in its arguments, and of those of a backend's author."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from command_line import wnc_store
from wnc_store import factory, open_store
from wnc_store.cli import commands
from wnc_store_contract import verify
from wnc_store_contract.factories import message, room

SECRET = "SECRET-9f1c"


@pytest.mark.parametrize("arguments", [("ping", "--url", ""), ("top", ""), ("demo", "--url", "")])
def test_an_empty_url_is_none(arguments: tuple[str, ...]) -> None:
    """A URL that is empty, say of a variable that is not set, is refused, and no other is looked at."""
    told = wnc_store(*arguments, code=2).stderr
    assert told.startswith("error: a store URL begins with its scheme and ://")


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Install a backend and a harness of the scheme mine, by entry points."""

    def installed(*, group: str) -> EntryPoints:
        return EntryPoints([EntryPoint("mine", value, group)])

    for module in (factory, verify):
        monkeypatch.setattr(module, "entry_points", installed)


@pytest.mark.parametrize("command", [("ping", "--url"), ("verify",)])
@pytest.mark.parametrize(
    ("value", "missing"),
    [("no_such_module:open", "No module named 'no_such_module'"), ("json:no_such", "has no attribute 'no_such'")],
)
def test_an_entry_point_that_leads_nowhere(
    command: tuple[str, ...], value: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend or a harness whose entry point names what is not there is told, with its scheme and the entry point."""
    install(monkeypatch, value)
    told = wnc_store(*command, f"mine://:{SECRET}@host", code=2).stderr
    assert told.startswith("error: the ")
    assert f" for mine:// can't be loaded (its entry point is {value!r}): " in told
    assert missing in told
    assert SECRET not in told


def test_a_command_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered command whose module is missing is listed, and prints the reason with any arguments."""

    def installed(*, group: str, name: str = "mine") -> EntryPoints:
        return EntryPoints([EntryPoint("mine", "no_such_module:mine", group)]).select(name=name)

    monkeypatch.setattr(commands, "entry_points", installed)
    assert "Not available: No module named 'no_such_module'" in wnc_store("--help").stdout
    stderr = wnc_store("mine", "memory://", "--json", code=2).stderr
    assert stderr == "error: No module named 'no_such_module'\n"


def test_a_harness_that_does_not_take_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that raises when it is made with a URL is told in a line, which does not repeat the URL."""
    install(monkeypatch, "builtins:float")
    told = wnc_store("verify", f"mine://:{SECRET}@host", code=2).stderr
    assert told.startswith("error: the harness for mine:// can't be made: ValueError: ")
    assert SECRET not in told


HARNESSES = """
from wnc_store_contract.memory import MemoryHarness

class Raises(MemoryHarness):
    def __init__(self):
        raise ValueError("out of order")

class GivesNothing(MemoryHarness):
    def open_store(self, **settings):
        pass

class GivesLater(MemoryHarness):
    async def open_store(self, **settings):
        return super().open_store(**settings)
"""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Raises", "the harness 'harnesses_in_error:Raises' can't be made: ValueError: out of order"),
        ("GivesNothing", "GivesNothing.open_store must return a store, and returned None"),
        (
            "GivesLater",
            "GivesLater.open_store must return a store, and returned a coroutine: define it without async",
        ),
    ],
)
@pytest.mark.parametrize("options", [(), ("--allow-nonempty",)])
def test_a_harness_that_gives_no_store(
    name: str, problem: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A harness that raises, or whose stores are none, is told in a line before any clause is tried."""
    (tmp_path / "harnesses_in_error.py").write_text(HARNESSES)
    monkeypatch.chdir(tmp_path)
    told = wnc_store("verify", "--harness", f"harnesses_in_error:{name}", *options, code=2)
    assert told.output == f"error: {problem}\n"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with an empty room, and a chat that has lost its room."""
    where = f"sqlite://{tmp_path}/rooms.db"

    async def fill() -> None:
        async with open_store(where) as store:
            await store.rooms.create_room(room("EMPTY"))
            await store.chat.add_message(message(1, "LEFT"))

    asyncio.run(fill())
    return where


def test_a_chat_that_is_not_there(url: str) -> None:
    """`chat` of no room fails as `show` does, whose JSON is empty; of a room nobody wrote in it succeeds."""
    assert "there is no live room 'nope'" in wnc_store("chat", "nope", "--url", url, code=1).stderr
    assert wnc_store("chat", "nope", "--url", url, "--json", code=1).stdout == "[]\n"
    assert "0 messages in EMPTY" in wnc_store("chat", "EMPTY", "--url", url).stdout
    assert "1 message in LEFT" in wnc_store("chat", "LEFT", "--url", url).stdout
