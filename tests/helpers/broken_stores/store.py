"""Mutants of behaviour that all methods share."""

from __future__ import annotations

import threading
from typing import Any

from broken_stores.mutant import Mutants
from wnc_store import HealthReport, InvalidIdError, StoreError, StoreSettings
from wnc_store.base import Lifecycle
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryDatabase, MemoryStore
from wnc_store_memory.database import Namespace

MUTANTS = Mutants()

namespace = MemoryDatabase.namespace


@MUTANTS.breaks(
    (InvalidIdError, "__new__"),
    "invalid_room_ids_are_rejected",
    "invalid_user_ids_are_rejected",
    "invalid_chat_ids_are_rejected",
    "invalid_connection_ids_are_rejected",
    "invalid_rate_limit_keys_are_rejected",
    "invalid_event_room_ids_are_rejected",
    "one_invalid_id_is_rejected",
    "a_refused_room_with_a_code_is_not_stored",
)
def invalid_ids_raise_value_error(_kind: type[InvalidIdError], *_args: object) -> ValueError:
    """Raise ValueError instead of InvalidIdError."""
    return ValueError("bad")


@MUTANTS.breaks(
    (Lifecycle, "ensure_open"),
    "closed_rooms_raise",
    "closed_listings_raise",
    "closed_chats_raise",
    "closed_connections_raise",
    "closed_rate_limits_raise",
    "closed_events_raise",
)
def a_closed_store_keeps_working(_self: Lifecycle) -> None:
    """Do not check whether the store is closed."""


@MUTANTS.breaks(
    (MemoryHarness, "open_store"),
    "two_clients_share_data",
    "concurrent_joins_of_two_clients_are_all_kept",
    "closing_one_client_keeps_the_other_open",
    "clients_may_differ_in_settings",
    "a_room_created_during_a_sweep_is_listed",
    "the_limit_holds_for_concurrent_calls",
    "a_short_lease_does_not_shorten_others",
    "clients_share_connection_counts",
    "concurrent_hits_are_all_counted",
    "existing_oversized_data_is_accepted",
    "one_of_two_clients_creates_a_room",
    "concurrent_messages_of_two_clients_are_all_kept",
    "events_reach_other_clients",
    "room_reads_see_writes_of_other_clients",
    "ttl_reads_see_writes_of_other_clients",
    "listings_see_writes_of_other_clients",
    "chat_reads_see_writes_of_other_clients",
    "connection_counts_see_other_clients",
    "hit_counts_see_other_clients",
    "concurrent_changes_of_two_clients_are_all_kept",
    "concurrent_changes_of_two_clients_are_ordered",
    "rejected_hits_are_counted",
    "reads_of_many_rooms_see_writes_of_other_clients",
    "a_message_above_a_limit_can_be_edited",
    "chat_reads_see_edits_of_other_clients",
    "concurrent_edits_of_two_clients_are_all_applied",
    "edits_keep_the_clients_history_limit",
)
def clients_do_not_share_data(self: MemoryHarness, **settings: Any) -> MemoryStore:
    """Give every client its own data."""
    return MemoryStore(StoreSettings(**settings), clock=self._clock)


@MUTANTS.breaks(
    (MemoryDatabase, "namespace"),
    "prefixes_separate_rooms",
    "prefixes_separate_chats",
    "prefixes_separate_connections",
    "prefixes_separate_rate_limits",
    "prefixes_separate_listings",
    "prefixes_separate_events",
    "a_sweep_leaves_other_prefixes",
    "active_rooms_have_the_prefix_of_the_store",
)
def prefixes_are_ignored(self: MemoryDatabase, _key_prefix: str) -> Namespace:
    """Use one namespace for all key prefixes."""
    return namespace(self, "")


@MUTANTS.breaks((MemoryStore, "_close"), "a_rejected_close_changes_nothing")
async def a_rejected_close_closes(_self: MemoryStore) -> None:
    """Reject a close in another event loop after the store was closed."""
    if threading.current_thread() is not threading.main_thread():
        message = "the store was used in another event loop"
        raise StoreError(message)


@MUTANTS.breaks((MemoryStore, "health"), "health_reports_a_working_store", "closed_rooms_raise")
async def health_is_unknown(_self: MemoryStore) -> HealthReport:
    """Return an empty report without querying the store."""
    return HealthReport("MemoryStore", None, None, ())
