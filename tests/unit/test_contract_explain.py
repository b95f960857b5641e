"""Failed clauses are explained as sentences."""

from __future__ import annotations

from typing import Any

import pytest

from wnc_store_contract.explain import explain_comparison, explain_failure

RULE = "A rule."


@pytest.mark.parametrize(
    ("compared", "left", "right", "sentence"),
    [
        ("==", 19, 20, "expected 20, got 19"),
        ("is", None, True, "expected True, got None"),
        ("!=", 1, 1, "expected anything but 1"),
        ("is not", None, None, "expected anything but None"),
        ("in", "m1", ["m2"], "expected one of ['m2'], got 'm1'"),
        ("not in", "m1", ["m1"], "expected none of ['m1'], got 'm1'"),
        ("<", 2, 1, "expected less than 1, got 2"),
        ("<=", 2, 1, "expected at most 1, got 2"),
        (">", 1, 2, "expected more than 2, got 1"),
        (">=", 1, 2, "expected at least 2, got 1"),
    ],
)
def test_a_comparison_is_a_sentence(compared: str, left: object, right: object, sentence: str) -> None:
    """A failed comparison names the expected and the actual value."""
    assert explain_comparison(compared, left, right) == sentence


def test_a_long_value_is_shortened() -> None:
    """The repr of a value is at most 300 characters long."""
    assert explain_comparison("==", "x" * 400, 1) == f"expected 1, got '{'x' * 299}..."


def test_a_value_whose_repr_raises_is_named() -> None:
    """A value whose repr raises is named by its class."""

    class Broken:
        def __repr__(self) -> str:
            """Raise TypeError."""
            raise TypeError

    assert explain_comparison("==", Broken(), 1) == "expected 1, got <Broken whose repr raises TypeError>"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AssertionError("assert expected 20, got 19\n +  where 19 = len([])"), "expected 20, got 19"),
        (AssertionError("the room expired\nassert expected 20, got 19"), "the room expired: expected 20, got 19"),
        (AssertionError("assert False\n +  where False = f(1)"), "expected f(1) to be true, got False"),
        (AssertionError("assert not True\n +  where True = f(1)"), "expected f(1) to be false, got True"),
        (AssertionError("assert not {1}"), "expected {1} to be false"),
        (AssertionError("the message"), "the message"),
        (AssertionError(), "an assertion failed"),
        (
            pytest.fail.Exception("DID NOT RAISE <class 'a.b.StoreError'>"),
            "expected StoreError, but nothing was raised",
        ),
        (pytest.fail.Exception("DID NOT RAISE StoreError"), "expected StoreError, but nothing was raised"),
        (pytest.fail.Exception("the message"), "the message"),
    ],
)
def test_a_failure_states_the_rule_and_a_sentence(error: Any, sentence: str) -> None:
    """The message of a failed clause begins with the rule and a sentence."""
    assert str(explain_failure(error, RULE)).split("\n")[:2] == [RULE, sentence]


def test_a_hung_clause_is_explained() -> None:
    """A timeout without a message gets one."""
    assert str(explain_failure(TimeoutError(), RULE)) == "the clause did not end within its time limit"
