"""Order of the stress tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that none of them runs alone at the end."""
    items.sort(key=lambda item: "test_interleavings" not in item.nodeid)
