"""How Sphinx makes the site: `make docs`."""

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
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

html_theme = "furo"
html_title = f"wnc-store {version}"
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3
smartquotes = False  # options of commands begin with two hyphens

default_role = "py:obj"  # docstrings put single backticks around code
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True


def _skip(_app: Any, _what: str, name: str, _member: Any, skip: bool, _options: Any) -> bool | None:
    """Leave out what models have for pydantic's sake."""
    return True if name.startswith("model_") else skip


def _sign(_app: Any, _what: str, _name: str, of: Any, *_more: Any) -> tuple[str, str] | None:
    """Leave out the arguments of models, whose fields are described, and of protocols, which have none."""
    if not isinstance(of, type):
        return None
    kind = cast("type[object]", of)
    return ("", "") if issubclass(kind, BaseModel) or is_protocol(kind) else None


def _commands(_app: Any, page: str, text: list[str]) -> None:
    """Write what each command takes into the page about them."""
    if page == "reference/command-line":
        group: Any = typer.main.get_command(app)
        commands = [group.get_command(None, name) for name in group.list_commands(None)]
        text[0] = text[0].replace("<!-- commands -->", "\n".join(map(_command, commands)))


def _error_messages(_app: Any, page: str, text: list[str]) -> None:
    """Insert the table of error messages into its page."""
    if page == "reference/errors":
        text[0] = text[0].replace("<!-- errors -->", table())


def _command(command: Any) -> str:
    names = " ".join(one.metavar or one.name.upper() for one in command.params if one.param_type_name == "argument")
    rows = [
        f"| `{' '.join(one.opts) if one.param_type_name == 'option' else one.metavar or one.name.upper()}` "
        f"| {one.help or ''} | {_default(one)} |"
        for one in command.params
    ]
    table = ["| option | what | default |", "|---|---|---|", *rows] if rows else []
    return "\n".join(
        [f"## {command.name}", "", f"`wnc-store {command.name} {names}`", "", command.help, "", *table, ""]
    )


def _default(parameter: Any) -> str:
    return "" if parameter.default in {None, False} or parameter.required else f"{parameter.default}"


def setup(sphinx: Any) -> None:
    """Called by Sphinx."""
    sphinx.connect("autodoc-skip-member", _skip)
    sphinx.connect("autodoc-process-signature", _sign)
    sphinx.connect("source-read", _commands)
    sphinx.connect("source-read", _error_messages)
