"""What of the engines' tests belongs to the soak only."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the faults of a real cluster to `--soak`: on a busy machine its nodes time out among themselves."""
    if config.getoption("--soak"):
        return
    mark = pytest.mark.skip(reason="faults of a real cluster run with --soak (make soak)")
    for item in items:
        if item.path == Path(__file__).with_name("test_cluster.py"):
            item.add_marker(mark)
