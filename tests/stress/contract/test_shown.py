"""The whole contract, run as shown in the README and in the third-party example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from processes import run_pytest

ROOT = Path(__file__).resolve().parents[3]


def test_the_readme_example_passes(tmp_path: Path) -> None:
    """The test file in the README passes when it runs alone."""
    (text,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "StoreContract" in block
    )
    (tmp_path / "test_mine.py").write_text(text)
    assert " passed" in run_pytest(folder=tmp_path)


@pytest.mark.parametrize("selected", ["any_sequence_of", "any_sequence_with", "not any_sequence"])
def test_the_sqlite_backend_keeps_the_contract(selected: str) -> None:
    """All tests of the third-party backend pass in its own folder. The slowest ones run side by side."""
    assert " passed" in run_pytest("-k", selected, folder=ROOT / "examples/third_party_backend")
