"""The search for an order of calls accepts every history of a correct store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from possible_histories import possible_history
from wnc_store_contract.faults.history import Operation, View
from wnc_store_contract.faults.judge import halves
from wnc_store_contract.faults.linearizable import check_room, find_order
from wnc_store_contract.faults.models import ChatModel, HitModel, LeaseModel, Model, RoomModel

MODELS: dict[str, Callable[[Sequence[Operation], Sequence[Any] | None], Model]] = {
    "rooms": RoomModel,
    "chats": lambda operations, _: ChatModel(operations, kept=20),
    "connections": lambda _, written: LeaseModel(written),
    "limits": lambda _, written: HitModel(written),
}


@pytest.mark.parametrize("group", MODELS)
def test_possible_histories_have_an_order(group: str) -> None:
    """A random history of a correct store has an order, whether the written states are known or not."""
    for seed in range(100):
        calls, written = possible_history(group, MODELS[group]([], None), seed)
        operations = [half for call in calls for half in halves(call)]
        for known in (written, None):
            assert find_order(operations, MODELS[group](operations, known)).problem is None, seed


def test_a_change_comes_before_a_call_that_began_after_it_was_final() -> None:
    """A change with an unknown outcome comes before a failed creation that began when the change was final."""
    first, edited = View(1, "u", ("u",)), View(2, "u", ("u",), 0, "url")
    create = Operation("a", "create", "A", "u", 0, 1, "ok")
    edit = Operation("b", "edit", "A", "url", 2, 3, "unknown", final=5)
    failed = Operation("c", "create", "A", "v", 6, 7, "exists")
    read = Operation("c", "get", "A", None, 8, 9, "ok", edited)
    assert check_room([create, edit, failed, read], [first, edited]).problem is None
    assert check_room([create, edit, failed, read]).problem is None
    late = [replace(read, start=5.1, end=5.2, result=first), replace(failed, start=5.3), read]
    assert check_room([create, edit, *late]).problem is not None


def test_a_call_without_an_effect_comes_before_a_concurrent_change() -> None:
    """A failed creation comes before a concurrent join if a later call returned the room without the new user."""
    first, joined = View(1, "u", ("u",)), View(2, "u", ("u", "x"))
    create = Operation("a", "create", "A", "u", 0, 1, "ok")
    never = Operation("b", "edit", "A", "url", 2, 3, "unknown", final=5)
    join = Operation("c", "join", "A", "x", 2, 10, "ok", joined)
    failed = Operation("d", "create", "A", "v", 6, 7, "exists")
    leave = Operation("d", "leave", "A", "x", 8, 9, "ok", first)
    assert check_room([create, never, join, failed, leave], [first, joined]).problem is None
