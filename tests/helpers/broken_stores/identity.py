"""Mutants that confuse ids and texts which differ little, as databases and drivers may do."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from broken_stores.mutant import Mutants
from wnc_store import ChatMessage, Clock, Room, RoomEvent, User, rules
from wnc_store.base import SubscriberRegistry
from wnc_store_memory import MemoryDatabase
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.database import Namespace
from wnc_store_memory.limiters import MemoryConnectionCounter
from wnc_store_memory.rooms import MemoryRoomStore
from wnc_store_memory.ttl_map import Entry, TTLMap

MUTANTS = Mutants()

V = TypeVar("V")
Fold = Callable[[str], str]

init_namespace, namespace = Namespace.__init__, MemoryDatabase.namespace
append, join, acquire = ChatHistory.append, rules.join, MemoryConnectionCounter._acquire
iter_ids, update = MemoryRoomStore._iter_ids, MemoryRoomStore._update


def first(count: int) -> Fold:
    """Return a function that truncates text, as a column of limited length does."""
    return lambda text: text[:count]


def without_outer_dots(text: str) -> str:
    """Trim the separators at the ends, as a normalized path does."""
    return text.strip(".:") or text


def with_hyphens(text: str) -> str:
    """Replace underscores, which some names may not contain."""
    return text.replace("_", "-")


def with_single_spaces(text: str) -> str:
    """Collapse spaces, as HTML does."""
    return re.sub(r"\s+", " ", text)


def as_number(text: str) -> str:
    """Return a number in its shortest form, as a column with numeric affinity does."""
    return str(float(text)) if re.fullmatch(r"-?\d+(\.\d*)?", text) else text


class FoldedMap(TTLMap[V]):
    """A map whose keys are folded before they are compared."""

    def __init__(self, now: Callable[[], int], fold: Fold) -> None:
        super().__init__(now)
        self._fold = fold

    def get(self, key: str) -> Entry[V] | None:
        """See `TTLMap.get`."""
        return super().get(self._fold(key))

    def set(self, key: str, value: V, ttl_ms: int) -> None:
        """See `TTLMap.set`."""
        super().set(self._fold(key), value, ttl_ms)

    def replace(self, key: str, former: Entry[V], value: V, ttl_ms: int) -> bool:
        """See `TTLMap.replace`."""
        return super().replace(self._fold(key), former, value, ttl_ms)

    def change(self, key: str, former: Entry[V], value: V) -> None:
        """See `TTLMap.change`."""
        super().change(self._fold(key), former, value)

    def pop(self, key: str) -> Entry[V] | None:
        """See `TTLMap.pop`."""
        return super().pop(self._fold(key))

    def get_with_ttl(self, key: str) -> tuple[Entry[V], int] | None:
        """See `TTLMap.get_with_ttl`."""
        return super().get_with_ttl(self._fold(key))


def with_folded(part: str, fold: Fold) -> Callable[[Namespace, Clock], None]:
    """Return a constructor of a namespace that folds the keys of a part."""

    def broken(self: Namespace, clock: Clock) -> None:
        init_namespace(self, clock)
        setattr(self, part, FoldedMap[Any](clock.monotonic_ms, fold))

    return broken


LISTED, MATRIX = "similar_room_ids_are_listed", "an_operation_touches_only_its_id"
LONG = "the_longest_texts_of_a_room_are_stored"
for part, fold, name, *clauses in (
    ("rooms", first(36), "rooms are found by 36 characters", "similar_room_ids_are_apart", LISTED, LONG),
    (
        *("rooms", without_outer_dots, "room ids are trimmed", "similar_room_ids_are_apart", LISTED),
        *(MATRIX, "an_operation_publishes_only_to_its_room"),
    ),
    ("chats", first(36), "chats are found by 36 characters", "similar_chat_ids_are_apart"),
    ("leases", first(64), "connection keys are compared by 64 characters", "similar_connection_keys_are_apart"),
    ("hits", first(36), "rate limit keys are compared by 36 characters", "similar_rate_limit_keys_are_apart"),
    ("hits", without_outer_dots, "rate limit keys are trimmed", "similar_rate_limit_keys_are_apart", MATRIX),
):
    MUTANTS.breaks((Namespace, "__init__"), *clauses, name=name)(with_folded(part, fold))


@MUTANTS.breaks((MemoryRoomStore, "_iter_ids"), "similar_room_ids_are_listed")
async def rooms_are_listed_once_per_number(self: MemoryRoomStore) -> AsyncIterator[str]:
    """List one of several ids that are equal as numbers, as DISTINCT on a numeric column does."""
    seen: set[str] = set()
    async for room_id in iter_ids(self):
        if as_number(room_id) not in seen:
            seen.add(as_number(room_id))
            yield room_id


def with_same_user_ids(fold: Fold) -> Callable[[Room, User], Room]:
    """Return a join that removes the users whose folded id is the same."""

    def broken(room: Room, user: User) -> Room:
        users = tuple(other for other in room.users if other.id == user.id or fold(other.id) != fold(user.id))
        return join(room if len(users) == len(room.users) else room.model_copy(update={"users": users}), user)

    return broken


for fold, name, *clauses in (
    (str.casefold, "users are compared without case", "any_user_id_is_accepted"),
    (first(36), "users are compared by 36 characters", "any_user_id_is_accepted"),
    (as_number, "users are compared as numbers", "any_user_id_is_accepted"),
    (with_single_spaces, "users are compared without repeated spaces"),
):
    MUTANTS.breaks((rules, "join"), "similar_user_ids_are_apart", *clauses, name=name)(with_same_user_ids(fold))


def with_same_message_ids(fold: Fold) -> Callable[[ChatHistory, ChatMessage, int], bool]:
    """Return an append that treats messages whose folded id is the same as repetitions."""

    def broken(self: ChatHistory, message: ChatMessage, limit: int) -> bool:
        if any(fold(other.id) == fold(message.id) for other in self.newest(limit)):
            return False
        return append(self, message, limit)

    return broken


for fold, name, *clauses in (
    (str.casefold, "messages are compared without case", "any_message_id_is_accepted"),
    (
        *(first(64), "messages are compared by 64 characters"),
        *("any_message_id_is_accepted", "the_longest_messages_are_stored"),
    ),
    (as_number, "messages are compared as numbers", "any_message_id_is_accepted"),
    (with_single_spaces, "messages are compared without repeated spaces"),
):
    MUTANTS.breaks((ChatHistory, "append"), "similar_message_ids_are_apart", *clauses, name=name)(
        with_same_message_ids(fold)
    )


@MUTANTS.breaks((MemoryConnectionCounter, "_acquire"), "similar_connection_ids_are_apart", "many_leases_are_counted")
async def connection_ids_are_truncated(
    self: MemoryConnectionCounter, key: str, connection_id: str, limit: int | None, ttl: timedelta
) -> tuple[bool, int]:
    """Store 64 characters of the id of a connection."""
    return await acquire(self, key, connection_id[:64], limit, ttl)


@MUTANTS.breaks((SubscriberRegistry, "dispatch"), "similar_channels_are_apart")
def channels_ignore_case(self: SubscriberRegistry, events: Iterable[RoomEvent]) -> None:
    """Deliver events to the rooms whose ids differ only in case, as unquoted names of channels do."""
    for event in events:
        for room_id in self.rooms():
            if room_id.casefold() == event.room_id.casefold():
                for queue in self._queues[room_id]:
                    queue.put(event)


def with_folded_prefix(fold: Fold) -> Callable[[MemoryDatabase, str], Namespace]:
    """Return a lookup of a prefix's data that folds the prefix."""
    return lambda self, prefix: namespace(self, fold(prefix))


for fold, name in (
    (str.casefold, "prefixes are compared without case"),
    (first(36), "prefixes are compared by 36 characters"),
    (with_hyphens, "prefixes with similar separators are equal"),
):
    MUTANTS.breaks((MemoryDatabase, "namespace"), "similar_prefixes_are_apart", name=name)(with_folded_prefix(fold))


class JoinedMap(FoldedMap[V]):
    """The map of a prefix, whose entries are in a map of all prefixes under the prefix and the key as one string."""

    def __init__(self, now: Callable[[], int], prefix: str, shared: TTLMap[V]) -> None:
        super().__init__(now, lambda key: prefix + key)
        self._entries, self._expiry_buckets = shared._entries, shared._expiry_buckets
        self._keys: set[str] = set()

    def set(self, key: str, value: V, ttl_ms: int) -> None:
        """See `TTLMap.set`."""
        super().set(key, value, ttl_ms)
        self._keys.add(key)

    def live_keys(self) -> Iterator[str]:
        """See `TTLMap.live_keys`."""
        return (key for key in sorted(self._keys) if self.get(key) is not None)


@MUTANTS.breaks(
    (MemoryDatabase, "namespace"), "a_prefix_and_an_id_are_apart", "active_rooms_have_the_prefix_of_the_store"
)
def keys_are_ambiguous(self: MemoryDatabase, prefix: str) -> Namespace:
    """Join the prefix and the id of a room to one key, so that different pairs have the same key."""
    found = namespace(self, prefix)
    if not isinstance(found.rooms, JoinedMap):
        found.rooms = JoinedMap(self.clock.monotonic_ms, prefix, namespace(self, "all prefixes").rooms)
    return found


@MUTANTS.breaks((MemoryRoomStore, "_update"), "similar_texts_are_apart")
async def a_change_of_normalization_is_no_change(
    self: MemoryRoomStore, room_id: str, transition: Callable[[Room], Room | None]
) -> Room | None:
    """Skip the write if the host's name differs only in normalization, as a comparison by collation does."""

    def compared(room: Room) -> Room | None:
        after = transition(room)
        if after is None or after.host_id != room.host_id or after.host_name == room.host_name:
            return after
        return room if _folded(after) == _folded(room) else after

    return await update(self, room_id, compared)


def _folded(room: Room) -> str:
    return unicodedata.normalize("NFKC", room.host_name)
