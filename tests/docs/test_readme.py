"""The code, links and names in README and docs."""

from __future__ import annotations

import asyncio
import re
import runpy
import shlex
import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import wnc_store
import wnc_store.base
from every_operation import operations
from processes import run_pytest
from redis_server import HANG_SECONDS
from wnc_store import ChatMessage, Room, RoomEvent, StoreSettings, User, open_store
from wnc_store.cli.app import app
from wnc_store_contract.clause import Clause
from wnc_store_contract.verify import Report, Result

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [path for path in ROOT.glob("**/*.md") if not re.search(r"node_modules|\.venv|/\.|/build/", str(path))]
RUN_HERE = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
"""The pages whose snippets and commands run here."""
_SHOWN_URL = re.compile(r"redis://localhost:6379/\d+|postgresql://localhost/\w+")
"""A server that pages name."""

_SOME_CLAUSES = "rejoin or message or ttl"
"""Of the README's contract; `make stress` runs all of it."""


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of a language that a page shows, without the indentation that a list gives them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def name(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


SNIPPETS = [
    pytest.param(text, id=f"{name(page)}-{number}")
    for page in RUN_HERE
    for number, text in enumerate(blocks(page, "python"))
]
COMMANDS = sorted(
    {
        line.removeprefix("$ ")
        for page in RUN_HERE
        for text in blocks(page, "console")
        for line in text.splitlines()
        if line.startswith("$ ")
    }
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out that no snippet and no command reaches on a busy machine."""
    monkeypatch.setenv("WNC_STORE_OPERATION_TIMEOUT", str(HANG_SECONDS))


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_runs(snippet: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each Python snippet of README and docs runs by itself; one that defines tests passes under pytest."""
    path = tmp_path / "test_snippet.py"
    if "postgresql://" in snippet:
        snippet = _SHOWN_URL.sub(request.getfixturevalue("postgres_server").url(), snippet)
    path.write_text(snippet)
    if re.search(r"^(class Test|def test_)", snippet, re.MULTILINE):
        run_pytest("-k", _SOME_CLAUSES if "StoreContract" in snippet else "test", path.name, folder=tmp_path)
    else:
        runpy.run_path(str(path), run_name="__main__")


def test_the_snippets_are_found() -> None:
    """The README shows a first room and the contract; the tutorial shows something, too."""
    readme = blocks(ROOT / "README.md", "python")
    assert len(readme) == 2
    assert "open_store" in readme[0]
    assert blocks(ROOT / "docs/tutorial.md", "python")


def test_no_other_page_shows_code() -> None:
    """No page but README and those of docs shows a Python snippet or a command's output, which nothing would run."""
    others = [page for page in PAGES if page not in RUN_HERE]
    assert others
    assert [name(page) for page in others if blocks(page, "python") or blocks(page, "console")] == []


@pytest.fixture
async def room(command: str, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """URL of a server of the kind that the command names, with a room A3X9K2 and its chat."""
    if "postgresql://" in command:
        url: str = request.getfixturevalue("postgres_server").url()
    else:
        url = request.getfixturevalue("redis_server").url.replace("/0", "/13")
    async with open_store(url) as store:
        await store.rooms.create_room(Room.hosted_by(User(id="u1", name="Ada"), room_id="A3X9K2"))
        message = ChatMessage(room_id="A3X9K2", user_id="u1", user_name="Ada", message="hello")
        await store.chat.add_message(message)
        yield url
        await store.rooms.delete_room("A3X9K2")


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_runs(command: str, room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that the docs show succeeds, on a server with a room; an import finds what an export has written."""
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "wnc-store"

    def run(*words: str) -> None:
        done = CliRunner().invoke(app, [_SHOWN_URL.sub(room, word) for word in words])
        assert done.exit_code == 0, done.output

    if arguments[0] == "import":
        await asyncio.to_thread(run, "export", room, "--output", arguments[2])
    if arguments[0] == "verify":
        # The contract itself is run by tests/redis/test_cli.py; here it is one clause.
        monkeypatch.setattr("wnc_store_contract.cli.run_contract", verify_one_clause)
    await asyncio.to_thread(run, *arguments)


def verify_one_clause(_request: object, target: str, selected: Sequence[Clause], **_: object) -> Report:
    """Report a contract of one clause, which passed."""
    return Report(target, selected[:1], [Result(selected[0], "passed", "", 0)])


def test_the_commands_are_found() -> None:
    """The docs show how to look inside, and the command that the README names is among those that run here."""
    shown = {command.split()[1] for command in COMMANDS}
    assert shown >= {"rooms", "show", "doctor", "top", "export", "import", "verify"}
    assert "`wnc-store verify redis://localhost:6379/9`" in README
    assert "wnc-store verify redis://localhost:6379/9" in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_named_is_there(page: Path) -> None:
    """Each `make` target and each extra that a page names exists."""
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^    |^\$ )make ([a-z-]+)", text, re.MULTILINE)) <= targets
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    for named in re.findall(r"\[([a-z,]+)\]'", text):
        assert set(named.split(",")) <= extras, named


def test_the_names_of_typescript() -> None:
    """The table from TypeScript to Python names what is there, and omits no operation of rooms, chat or limits."""
    page = (ROOT / "docs/from-typescript.md").read_text()
    shown = set(re.findall(r"\| `store\.(\w+\.\w+)\(", page))
    ours_alone = {"chat.chat_ttl", "connections.count", "connections.release", "rate_limits.peek", "rate_limits.reset"}
    assert shown == operations() - ours_alone


def test_the_reference_is_whole() -> None:
    """Each public name is described on a page of the reference."""
    pages = "".join(page.read_text() for page in (ROOT / "docs/reference").glob("**/*.md"))
    described = set(re.findall(r"(?:auto\w+|py:data):: wnc_store\.(?:base\.)?(\w+)$", pages, re.MULTILINE))
    in_modules = {public for public in wnc_store.__all__ if public.endswith("Error")}
    assert {*wnc_store.__all__, *wnc_store.base.__all__} - in_modules - described == set()
    assert "automodule:: wnc_store.errors" in pages


def test_every_event_is_in_the_table() -> None:
    """The page on events names each of them, and the type that is on the wire."""
    page = (ROOT / "docs/events.md").read_text()
    for kind in RoomEvent.__subclasses__():
        assert f"`{kind.__name__}`" in page
        assert f"`{kind.model_fields['type'].default}`" in page


def test_the_page_on_events_says_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The app that the page on events shows prints what the page says."""
    page = ROOT / "docs/events.md"
    _, snippet = blocks(page, "python")
    (tmp_path / "app.py").write_text(snippet)
    runpy.run_path(str(tmp_path / "app.py"), run_name="__main__")
    promised = re.search(r"^It prints (.*?)\.", page.read_text(), re.DOTALL | re.MULTILINE)
    assert promised is not None
    assert capsys.readouterr().out.splitlines() == re.findall(r"`(.*?)`", promised[1])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of each page leads to a file that is there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_settings_table_is_whole() -> None:
    """The page on settings names each of them with its variable."""
    page = (ROOT / "docs/settings.md").read_text()
    for name in StoreSettings.model_fields:
        assert f"| `{name}` | `WNC_STORE_{name.upper()}` |" in page


def test_the_readme_is_short() -> None:
    """The README has at most 105 lines."""
    assert len(README.splitlines()) <= 105


@pytest.mark.parametrize("page", RUN_HERE, ids=name)
def test_shown_code_fits_the_site(page: Path) -> None:
    """Lines of code blocks have at most 95 characters, so that the site shows them without a scroll bar."""
    shown = [text for language in ("python", "console", "text", "toml") for text in blocks(page, language)]
    assert [line for text in shown for line in text.splitlines() if len(line) > 95] == []
