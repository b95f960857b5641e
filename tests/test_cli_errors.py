"""What the command line says of mistakes in its arguments, and of those of a backend's author."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from wnc_store import open_store
from wnc_store.cli import output
from wnc_store.cli.app import app
from wnc_store_contract.samples import message, room


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wrapped."""
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "width", 200)


def wnc_store(*arguments: str, code: int = 0) -> Result:
    """Run the command line in this process."""
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.mark.parametrize("arguments", [("ping", "--url", ""), ("top", ""), ("demo", "--url", "")])
def test_an_empty_url_is_none(arguments: tuple[str, ...]) -> None:
    """A URL that is empty, say of a variable that is not set, is refused, and no other is looked at."""
    told = wnc_store(*arguments, code=2).stderr
    assert told.startswith("error: a store URL begins with its scheme and ://")


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
