"""The page of public names, which is generated from the source code."""

from __future__ import annotations

import runpy
from pathlib import Path

import wnc_store

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    """The page is what the generator writes from the source code: names, parameters, first lines and files."""
    generated = runpy.run_path(str(DOCS / "public_names.py"))["page"]()
    page = (DOCS / "reference/api/names.md").read_text(encoding="utf-8")
    assert page == generated, "run .venv/bin/python docs/public_names.py"
    assert all(f"| `{name}" in page or f"| `async {name}" in page for name in wnc_store.__all__)
