"""Sphinx configuration of the documentation site; build it with `make docs`."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, cast

import typer
from pydantic import BaseModel
from typing_extensions import is_protocol

from wnc_store.cli.app import app

sys.path.insert(0, str(Path(__file__).parent))
from error_messages import table

project = "wnc-store"
version = release = version_of("wnc-store")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]

html_theme = "furo"
html_title = f"wnc-store {version}"
html_show_sphinx = False
html_copy_source = False

copybutton_prompt_text = "$ "

myst_heading_anchors = 3
smartquotes = False  # keep the two hyphens of command options

default_role = "py:obj"  # docstrings use single backticks for code
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True


def _skip(
    _app: Any, _what: str, name: str, _member: Any, skip: bool, _options: Any
) -> bool | None:
    """Skip pydantic's own attributes of the models."""
    return True if name.startswith("model_") else skip


def _signature(
    _app: Any, _what: str, _name: str, member: Any, *_more: Any
) -> tuple[str, str] | None:
    """Hide the signatures of models and protocols."""
    if not isinstance(member, type):
        return None
    kind = cast("type[object]", member)
    return ("", "") if issubclass(kind, BaseModel) or is_protocol(kind) else None


def _commands(_app: Any, page: str, text: list[str]) -> None:
    """Insert the options of each command into the command-line page."""
    if page == "reference/command-line":
        group: Any = typer.main.get_command(app)
        commands = [group.get_command(None, name) for name in group.list_commands(None)]
        text[0] = text[0].replace("<!-- commands -->", "\n".join(map(_command, commands)))


def _error_messages(_app: Any, page: str, text: list[str]) -> None:
    """Insert the table of error messages into its page."""
    if page == "reference/errors":
        text[0] = text[0].replace("<!-- errors -->", table())


def _command(command: Any) -> str:
    names = " ".join(
        _spelling(parameter) if parameter.required else f"[{_spelling(parameter)}]"
        for parameter in command.params
        if parameter.param_type_name == "argument"
    )
    rows = [
        f"| `{_spelling(parameter)}` | {parameter.help or ''} | {_default(parameter)} |"
        for parameter in command.params
    ]
    table = ["| option | description | default |", "|---|---|---|", *rows] if rows else []
    return "\n".join(
        [
            f"## {command.name}",
            "",
            f"`wnc-store {command.name} {names}`",
            "",
            command.help,
            "",
            *table,
            "",
        ]
    )


def _spelling(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    return (
        " ".join(parameter.opts) if is_option else parameter.metavar or parameter.name.upper()
    )


def _default(parameter: Any) -> str:
    return (
        ""
        if parameter.default in {None, False} or parameter.required
        else f"{parameter.default}"
    )


def setup(sphinx: Any) -> None:
    """Connect the hooks above to Sphinx."""
    sphinx.connect("autodoc-skip-member", _skip)
    sphinx.connect("autodoc-process-signature", _signature)
    sphinx.connect("source-read", _commands)
    sphinx.connect("source-read", _error_messages)
