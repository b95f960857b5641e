"""Failures of clauses as sentences: the expected and the actual value, or the error of the harness and its place."""

from __future__ import annotations

import re
from contextvars import ContextVar
from pathlib import Path
from traceback import walk_tb
from typing import cast
from unittest import SkipTest

import pytest

from wnc_store_contract.harness import Harness

running: ContextVar[bool] = ContextVar("running", default=False)
"""Whether a clause is running, so that failed comparisons are explained as sentences."""

_MAX_LENGTH = 300

_EXPECTED = {
    "==": "{right}, got {left}",
    "is": "{right}, got {left}",
    "!=": "anything but {right}",
    "is not": "anything but {right}",
    "in": "one of {right}, got {left}",
    "not in": "none of {right}, got {left}",
    "<": "less than {right}, got {left}",
    "<=": "at most {right}, got {left}",
    ">": "more than {right}, got {left}",
    ">=": "at least {right}, got {left}",
}

_BARE = re.compile(r"(?P<negated>not )?(?P<value>.*)")
_WHERE = re.compile(r" \+  where (?P<value>.*?) = (?P<expression>.*)")
_NOTHING_RAISED = re.compile(r"DID NOT RAISE (?:<class ')?(?:\w+\.)*(?P<name>\w+)(?:'>)?")


def explain_comparison(operator: str, left: object, right: object) -> str:
    """Return what a failed comparison of the form `actual operator expected` expected and got."""
    return "expected " + _EXPECTED[operator].format(left=_shorten(left), right=_shorten(right))


def explain_failure(error: BaseException, rule: str) -> BaseException:
    """Return the error to raise for a failed clause: `error` with a clearer message, or another one.

    An error that the harness raised, and an outcome such as a skip, become a failure of one line without a traceback.

    Args:
        error: The error of the clause.
        rule: The rule of the clause, which becomes the first line of the message of a failed assertion.
    """
    if isinstance(error, KeyboardInterrupt):
        return error
    if problem := find_harness_problem(error):
        return pytest.fail.Exception("\n".join([problem, *getattr(error, "__notes__", [])]), pytrace=False)
    if isinstance(error, AssertionError):
        error.args = (f"{rule}\n{_sentence(str(error))}",)
    elif isinstance(error, pytest.fail.Exception):
        error.msg = f"{rule}\n{_explain_nothing_raised(error.msg or '')}"
    elif isinstance(error, TimeoutError) and not error.args:
        error.args = ("the clause did not end within its time limit",)
    return error


def find_harness_problem(error: BaseException) -> str | None:
    """Return in one line what the harness did wrong and where; None if the error is one of the clause or the store."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = cast("BaseExceptionGroup[BaseException]", first).exceptions[0]
    cause = type(first).__name__ + "".join(f": {line}" for line in str(first).splitlines()[:1])
    place = _find_harness_frame(first) or _find_harness_frame(error)
    # pytest reports a SkipTest as a skip, ends the session on its Exit, and derives xfail from fail.
    ends = isinstance(first, SkipTest | pytest.exit.Exception | pytest.xfail.Exception)
    if ends or not isinstance(first, Exception | pytest.fail.Exception):
        return f"a harness or store must not skip, xfail or end a clause, but raised {cause}{place}"
    return f"the harness failed: {cause}{place}" if place else None


def _find_harness_frame(error: BaseException) -> str:
    """Return the innermost function of a harness that the error passed, with its file and line; "" if there is none."""
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        code, owner = frame.f_code, frame.f_locals.get("self")
        if isinstance(owner, Harness) or (owner is not None and code.co_name == "make_harness"):
            place = f", in {code.co_name} ({Path(code.co_filename).name}:{line})"
    return place


def _sentence(text: str) -> str:
    """Return the message of a failed assertion as a sentence. pytest puts "assert" before the expression."""
    text = f"\n{text}" if text.startswith("assert ") else text
    message, asserted, explanation = text.partition("\nassert ")
    if not asserted:
        return text or "an assertion failed"
    if not explanation.startswith("expected "):
        explanation = _explain_bare(explanation)
    return f"{message}: {explanation}" if message else explanation


def _explain_bare(explanation: str) -> str:
    """Return what an assertion without a comparison expected."""
    first, *others = explanation.split("\n")
    bare, where = _BARE.fullmatch(first), _WHERE.fullmatch(others[0]) if others else None
    assert bare is not None
    wanted = "false" if bare["negated"] else "true"
    if where and where["value"] == bare["value"]:
        return "\n".join([f"expected {where['expression']} to be {wanted}, got {bare['value']}", *others[1:]])
    return "\n".join([f"expected {bare['value']} to be {wanted}", *others])


def _explain_nothing_raised(text: str) -> str:
    match = _NOTHING_RAISED.fullmatch(text)
    return f"expected {match['name']}, but nothing was raised" if match else text


def _shorten(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a backend may return anything
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
