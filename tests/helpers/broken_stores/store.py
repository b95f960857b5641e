"""Mistakes in what holds for every method of a store."""

from __future__ import annotations

from typing import Any

from broken_stores.mutant import Mistakes
from wnc_store import HealthReport, InvalidIdError, StoreSettings
from wnc_store.base import Lifecycle
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryDatabase, MemoryStore
from wnc_store_memory.database import Namespace

MUTANTS = Mistakes()

namespace = MemoryDatabase.namespace


@MUTANTS.breaks(
    (InvalidIdError, "__new__"),
    "bad_room_ids_are_refused",
    "bad_user_ids_are_refused",
    "bad_ids_in_a_chat_are_refused",
    "bad_connection_ids_are_refused",
    "bad_rate_limit_keys_are_refused",
    "bad_ids_of_events_are_refused",
)
def bad_ids_raise_something_else(_kind: type[InvalidIdError], *_args: object) -> ValueError:
    """What is raised for a bad id is no InvalidIdError."""
    return ValueError("bad")


@MUTANTS.breaks(
    (Lifecycle, "ensure_open"),
    "a_closed_store_refuses_everything",
    "a_closed_store_lists_nothing",
    "a_closed_chat_refuses_everything",
    "closed_connections_refuse_everything",
    "closed_rate_limits_refuse_everything",
    "closed_events_refuse_everything",
)
def a_closed_store_works_on(_self: Lifecycle) -> None:
    """Nobody minds that it was closed."""


@MUTANTS.breaks(
    (MemoryHarness, "open_store"),
    "a_second_client_sees_the_same",
    "two_clients_join_at_the_same_moment",
    "closing_one_client_leaves_the_other",
    "clients_may_differ_in_settings",
    "a_room_created_during_a_sweep_is_listed",
    "a_limit_holds_among_many",
    "a_short_lease_shortens_no_other",
    "two_processes_may_hold_one_key",
    "hits_at_the_same_moment_all_count",
    "what_is_only_carried_is_not_refused",
    "one_of_two_clients_creates",
    "two_clients_write_messages",
    "another_client_hears",
    "a_room_that_another_changed_is_read_anew",
    "a_ttl_that_another_gave_is_read_anew",
    "a_room_that_another_made_is_listed",
    "a_chat_that_another_changed_is_read_anew",
    "a_connection_of_another_counts",
    "a_hit_of_another_counts",
    "two_clients_change_at_the_same_moment",
    "changes_of_two_clients_come_in_order",
)
def clients_do_not_share(self: MemoryHarness, **settings: Any) -> MemoryStore:
    """Every client has data of its own."""
    return MemoryStore(StoreSettings(**settings), clock=self._clock)


@MUTANTS.breaks(
    (MemoryDatabase, "namespace"),
    "prefixes_are_namespaces",
    "prefixes_are_namespaces_of_chats",
    "prefixes_are_namespaces_of_connections",
    "prefixes_are_namespaces_of_rate_limits",
    "prefixes_are_listed_apart",
    "prefixes_are_heard_apart",
)
def prefixes_are_ignored(self: MemoryDatabase, _key_prefix: str) -> Namespace:
    """Stores of all prefixes share one namespace."""
    return namespace(self, "")


@MUTANTS.breaks((MemoryStore, "health"), "a_store_that_serves_says_so", "a_closed_store_refuses_everything")
async def nothing_is_known_of_health(_self: MemoryStore) -> HealthReport:
    """Nobody asks the store."""
    return HealthReport("MemoryStore", None, None, ())
