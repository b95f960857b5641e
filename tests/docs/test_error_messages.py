"""The page of error messages, which is generated from the source code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import wnc_store
from wnc_store import (
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    RoomExistsError,
    RoomNotFoundError,
    StoreClosedError,
    StoreError,
    UserNotFoundError,
)

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module", name="generator")
def _generator() -> dict[str, Any]:
    """Return the names of docs/error_messages.py."""
    return runpy.run_path(str(DOCS / "error_messages.py"))


def test_each_error_class_has_a_section(generator: dict[str, Any]) -> None:
    """The page has one section for each public error class, with its description."""
    sections = re.findall(r"^## (\w+)\n\n(?:Raised when|Base class)", generator["table"](), re.MULTILINE)
    assert sections == sorted(name for name in wnc_store.__all__ if name.endswith("Error"))
    assert "<!-- errors -->" in (DOCS / "reference/errors.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("publish_changes requires a backend with events, and Mine has none: turn it off"),
        ConflictError("A", 3),
        CorruptRecordError("room:A", "not UTF-8 JSON"),
        InvalidIdError("room id", "a b"),
        LimitExceededError("number of users", limit=2, actual=3),
        NotSupportedError("this backend does not support chat"),
        RoomExistsError("A"),
        RoomNotFoundError("A"),
        StoreClosedError(),
        UserNotFoundError("A", "ann"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_message_is_on_the_page(error: StoreError, generator: dict[str, Any]) -> None:
    """The message of an error matches a message of its class on the page."""
    templates = [text for text, _ in generator["collect"]()[type(error).__name__]]
    patterns = [re.sub(r"<[^>]*>", ".+", re.escape(text)) for text in templates]
    assert any(re.fullmatch(pattern, str(error)) for pattern in patterns)
