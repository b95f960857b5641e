"""Mistakes in what holds for every method of a store."""

from __future__ import annotations

from typing import Any

from broken_stores.mistake import Mistakes
from wnc_store import Lifecycle, StoreSettings, base
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryStore

MISTAKES = Mistakes()


@MISTAKES.breaks(
    (base, "check_id"), "bad_room_ids_are_refused", "bad_user_ids_are_refused", "bad_ids_in_a_chat_are_refused"
)
def any_id_goes(_kind: str, value: object) -> object:
    """No id is refused."""
    return value


@MISTAKES.breaks(
    (Lifecycle, "ensure_open"),
    "a_closed_store_refuses_everything",
    "a_closed_store_lists_nothing",
    "a_closed_chat_refuses_everything",
)
def a_closed_store_works_on(_self: Lifecycle) -> None:
    """Nobody minds that it was closed."""


@MISTAKES.breaks(
    (MemoryHarness, "open_store"),
    "a_second_client_sees_the_same",
    "two_clients_join_at_the_same_moment",
    "closing_one_client_leaves_the_other",
    "clients_may_differ_in_settings",
    "a_room_created_during_a_sweep_is_listed",
)
def clients_do_not_share(self: MemoryHarness, **settings: Any) -> MemoryStore:
    """Every client has data of its own."""
    return MemoryStore(StoreSettings(**settings), clock=self._clock)
