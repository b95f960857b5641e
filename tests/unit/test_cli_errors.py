"""Error messages of the command line for wrong arguments, backends and harnesses."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from command_line import wnc_store
from wnc_store import factory
from wnc_store.cli import plugins
from wnc_store_contract import verify

SECRET = "SECRET-9f1c"


@pytest.mark.parametrize("arguments", [("ping", "--url", ""), ("top", ""), ("demo", "--url", "")])
def test_an_empty_url_is_refused(arguments: tuple[str, ...]) -> None:
    """An empty URL, for example from an unset variable, exits 2 and does not select the default store."""
    stderr = wnc_store(*arguments, code=2).stderr
    assert stderr.startswith("error: a store URL must start with a scheme and ://")


URL = f"redis://:{SECRET}@127.0.0.1:1/0"


@pytest.mark.parametrize(
    "arguments",
    [
        ("rooms", URL, URL),
        ("rooms", URL, "--url", URL),
        ("rooms", f"redis://:{SECRET[:6]}", f"{SECRET[6:]}@127.0.0.1"),
        ("rooms", "--url", f"redis://:{SECRET[:6]}", f"{SECRET[6:]}@127.0.0.1"),
        ("sweep", "--json", URL, URL),
        ("show", URL),
        ("show", URL, URL),
        ("show", "A", URL, URL),
        ("show", "A", URL, "--url", URL),
        ("delete", URL, "--yes"),
        ("chat", URL),
        ("watch", URL),
        ("limits", URL),
        ("ping", f"--url={URL}", URL),
        ("demo", URL, URL),
        ("bench", URL, "--url", URL),
        ("bench", URL, "--output", URL),
        ("rooms", "--limit", URL),
        ("rooms", f"--limit={URL}"),
        ("rooms", f"--{URL}"),
        ("rooms", f"--json={URL}"),
        ("doctor", "memory://", URL),
        ("import", "memory://", URL),
        ("import", URL, URL),
        ("import", URL),
        ("export", "memory://", "--output", URL),
        ("verify", "--harness", URL),
        ("verify", "memory://", URL),
        ("verify", URL, "--url", URL),
        ("verify", f"--{URL}"),
        (URL,),
        (URL, "rooms"),
        (f"--{URL}",),
        (f"--version={URL}",),
    ],
)
def test_a_url_in_the_wrong_place_is_not_repeated(arguments: tuple[str, ...]) -> None:
    """A URL that is passed where none is expected exits 2, and no part of it is printed."""
    result = wnc_store(*arguments, code=2)
    assert "error" in result.stderr.lower()
    for part in (SECRET, SECRET[6:], "127.0.0.1"):
        assert part not in result.output


def test_a_command_without_a_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the entry-point group `wnc_store.commands` is listed last, among the other commands."""

    def installed(*, group: str) -> EntryPoints:
        return EntryPoints([EntryPoint("mine", "typer:echo", "wnc_store.commands")]).select(group=group)

    monkeypatch.setattr(plugins, "entry_points", installed)
    assert re.search(r"─ Other ─.*\n│ mine ", wnc_store("--help").stdout)


def install(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Register an entry point as the backend and the harness of the scheme mine."""

    def installed(*, group: str) -> EntryPoints:
        return EntryPoints([EntryPoint("mine", value, group)])

    for module in (factory, verify):
        monkeypatch.setattr(module, "entry_points", installed)


@pytest.mark.parametrize("command", [("ping", "--url"), ("verify",)])
@pytest.mark.parametrize(
    ("value", "missing"),
    [("no_such_module:open", "No module named 'no_such_module'"), ("json:no_such", "has no attribute 'no_such'")],
)
def test_an_entry_point_that_cannot_be_loaded(
    command: tuple[str, ...], value: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an entry point cannot be loaded, the error names the scheme and the entry point."""
    install(monkeypatch, value)
    stderr = wnc_store(*command, f"mine://:{SECRET}@host", code=2).stderr
    assert stderr.startswith("error: can't load the ")
    assert f" for mine:// from its entry point {value!r}: " in stderr
    assert missing in stderr
    assert SECRET not in stderr


def test_a_command_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered command whose module is missing is listed in its panel, and prints the reason with any arguments."""

    def installed(*, group: str) -> EntryPoints:
        entry = EntryPoint("mine", "no_such_module:mine", "wnc_store.commands.measure")
        return EntryPoints([entry]).select(group=group)

    monkeypatch.setattr(plugins, "entry_points", installed)
    help_text = wnc_store("--help").stdout
    assert "Not available: No module named 'no_such_module'" in help_text
    assert re.search(r"─ Measure ─.*\n│ top .*\n.*│ mine ", help_text, re.DOTALL)
    stderr = wnc_store("mine", "memory://", "--json", code=2).stderr
    assert stderr == "error: No module named 'no_such_module'\n"


def test_a_harness_that_does_not_take_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a harness raises when it is created with a URL, the one-line error does not contain the URL."""
    install(monkeypatch, "builtins:float")
    stderr = wnc_store("verify", f"mine://:{SECRET}@host", code=2).stderr
    assert stderr.startswith("error: making the harness for mine:// failed: ValueError: ")
    assert SECRET not in stderr


HARNESSES = """
from wnc_store_contract import Harness
from wnc_store_contract.memory import MemoryHarness

class Raises(MemoryHarness):
    def __init__(self):
        raise ValueError("out of order")

class Abstract(Harness):
    pass

class Wants(MemoryHarness):
    def __init__(self, url): ...

class ReturnsNone(MemoryHarness):
    def open_store(self, **settings):
        pass

class ReturnsCoroutine(MemoryHarness):
    async def open_store(self, **settings):
        return super().open_store(**settings)
"""


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Raises", "making the harness 'harnesses_in_error:Raises' failed: ValueError: out of order"),
        ("Abstract", "advance"),
        ("Wants", "url"),
        ("ReturnsNone", "ReturnsNone.open_store must return a store, but returned None"),
        (
            "ReturnsCoroutine",
            "ReturnsCoroutine.open_store must return a store, but returned a coroutine: define it without async",
        ),
    ],
)
@pytest.mark.parametrize("options", [(), ("--allow-nonempty",)])
def test_a_harness_without_a_store(
    name: str, problem: str, options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A harness that cannot be created or does not return a store is reported in one line before any clause runs."""
    (tmp_path / "harnesses_in_error.py").write_text(HARNESSES)
    monkeypatch.chdir(tmp_path)
    result = wnc_store("verify", "--harness", f"harnesses_in_error:{name}", *options, code=2)
    assert re.fullmatch(f"error: .*{re.escape(problem)}.*\n", result.output)
