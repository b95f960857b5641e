"""Stores with one mistake each, and the clauses that must catch it.

A mistake is made by patching a rule or a primitive of a backend of ours. Each names every clause that it turns red; the
state machine, a net for everything, is left out of that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from unittest.mock import patch

from fake_redis import FakeHarness

from wnc_store import BaseRoomStore, Lifecycle, Room, User, UserNotFoundError, VideoState, from_wire, rules, to_wire
from wnc_store import base as base_module
from wnc_store.models import ChatMessage
from wnc_store_contract import Harness
from wnc_store_contract.memory import MemoryHarness
from wnc_store_memory import MemoryDatabase
from wnc_store_memory._store import MemoryChatStore, MemoryRoomStore
from wnc_store_redis import _chat as redis_chat
from wnc_store_redis import _rooms as redis_rooms
from wnc_store_redis._chat import RedisChatStore
from wnc_store_redis._rooms import RedisRoomStore

Patch = tuple[object, str, object]

JOINS_AND_LEAVES = {
    "test_joins_at_the_same_moment_all_stay",
    "test_two_clients_join_at_the_same_moment",
    "test_one_failing_edit_harms_no_other",
    "test_a_cancelled_caller_takes_nobody_down",
    "test_edits_at_the_same_moment_all_count",
    "test_all_leave_at_the_same_moment",
}


@dataclass(frozen=True)
class Mistake:
    """A mistake, and the clauses that it turns red."""

    name: str
    reds: frozenset[str]
    patches: tuple[Patch, ...]
    harness: Callable[[], Harness] = MemoryHarness

    def made(self) -> AbstractContextManager[ExitStack]:
        """Return a context in which the mistake is made."""
        with ExitStack() as stack:
            for target, attribute, value in self.patches:
                stack.enter_context(patch.object(target, attribute, value))
            return stack.pop_all()


def mistake(
    name: str, reds: str | set[str], *patches: Patch, harness: Callable[[], Harness] = MemoryHarness
) -> Mistake:
    """Describe a mistake; clauses are named without their `test_`."""
    names = {reds} if isinstance(reds, str) else reds
    return Mistake(name, frozenset(f"test_{one.removeprefix('test_')}" for one in names), patches, harness)


def after(rule: str, change: Callable[..., Room | None]) -> Patch:
    """Change what a rule returns: `change(before, after)`."""
    original = cast("Callable[..., Room | None]", getattr(rules, rule))

    def broken(room: Room, *args: Any, **options: Any) -> Room | None:
        result = original(room, *args, **options)
        return result if result is None or result is room else change(room, result)

    return rules, rule, broken


def revised(room: Room, **changes: object) -> Room:
    """Return the next state of a room."""
    return room.model_copy(update={"rev": room.rev + 1, **changes})


def without_renewal(method: str) -> Patch:
    """Leave a room the TTL that it had before a write."""
    original = cast("Callable[..., Awaitable[object]]", getattr(MemoryRoomStore, method))

    async def broken(self: MemoryRoomStore, room_id: str, *args: Any) -> object:
        left = self._rooms.remaining_ms(room_id)
        result = await original(self, room_id, *args)
        entry = self._rooms.get(room_id)
        if entry is not None and left is not None:
            self._rooms.set(room_id, entry.value, left)
        return result

    return MemoryRoomStore, method, broken


def without_revision(rule: str) -> Patch:
    """Leave a room the revision that it had before a rule."""
    return after(rule, lambda before, result: result.model_copy(update={"rev": before.rev}))


def without_unknown_fields(rule: str, *, state: bool = False) -> Patch:
    """Drop the unknown fields that a rule should have left, those of the room or of the video state."""

    def change(_before: Room, result: Room) -> Room:
        if state:
            plain = VideoState(**{name: getattr(result.video_state, name) for name in VideoState.model_fields})
            return result.model_copy(update={"video_state": plain})
        return Room(**{name: getattr(result, name) for name in Room.model_fields})

    return after(rule, change)


async def insert_always(self: MemoryRoomStore, room: Room) -> bool:
    """Overwrite whatever room has that id."""
    self._chats.pop(room.id)
    self._rooms.set(room.id, room, self._room_ttl_ms)
    return True


async def insert_keeping_chat(self: MemoryRoomStore, room: Room) -> bool:
    """Leave the chat of an earlier room."""
    if self._rooms.get(room.id) is not None:
        return False
    self._rooms.set(room.id, room, self._room_ttl_ms)
    return True


async def update_anyway(self: MemoryRoomStore, room_id: str, room: Room) -> None:
    """Write a room that is not there, as the original does."""
    self._check(room_id)
    if room.id != room_id:
        raise ValueError(room.id)
    current = await self._load(room_id)
    rev = 0 if current is None else current.room.rev
    self._rooms.set(room_id, room.model_copy(update={"rev": rev + 1}), self._room_ttl_ms)


async def load_and_renew(self: MemoryRoomStore, room_id: str) -> Room | None:
    """Renew the TTL on every read."""
    self._check(room_id)
    entry = self._rooms.get(room_id)
    if entry is None:
        return None
    self._rooms.set(room_id, entry.value, self._room_ttl_ms)
    return entry.value


async def mutate_without_compare(
    self: MemoryRoomStore, room_id: str, rule: Callable[[Room], Room | None]
) -> Room | None:
    """Read, wait, write what was made of the read: the lost update."""
    current = await self._load(room_id)
    if current is None:
        return None
    result = rule(current.room)
    await asyncio.sleep(0)
    if result is None:
        await self._remove(room_id)
    elif result is not current.room and self._rooms.get(room_id) is not None:
        self._rooms.set(room_id, result, self._room_ttl_ms)
    return result


async def revive(self: MemoryRoomStore, room_id: str, user: User) -> Room:
    """Write the room that was read a moment ago, even if it was deleted meanwhile."""
    self._check(room_id)
    base_module.check_id("user", user.id)
    current = await self._load(room_id)
    await asyncio.sleep(0)
    if current is None:
        raise base_module.RoomNotFoundError(room_id)
    newer = await self._load(room_id)
    result = rules.join(current.room if newer is None else newer.room, user)
    self._rooms.set(room_id, result, self._room_ttl_ms)
    return result


async def leave_in_two_steps(self: MemoryRoomStore, room_id: str, user_id: str) -> Room | None:
    """Take the user out, and make host whoever should have been then, a while later: the sooner asked, the later."""
    before = self._rooms.get(room_id)
    result = await LEAVE_ROOM(self, room_id, user_id)
    if result is None or before is None or before.value.host_id == result.host_id:
        return result
    for _ in range(next(PATIENCE)):
        await asyncio.sleep(0)
    entry = self._rooms.get(room_id)
    if entry is not None:
        handed_over = {"host_id": result.host_id, "host_name": result.host_name}
        self._rooms.set(room_id, entry.value.model_copy(update=handed_over), self._room_ttl_ms)
    return result


async def remove_leaving_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the room and not its chat."""
    return self._rooms.pop(room_id) is not None


async def delete_leaving_chat(self: MemoryRoomStore, room_id: str) -> bool:
    """Delete the room and not its chat, when it is deleted by name."""
    self._check(room_id)
    return self._rooms.pop(room_id) is not None


async def always_removed(self: MemoryRoomStore, room_id: str) -> bool:
    """Tell everybody that they deleted the room."""
    self._chats.pop(room_id)
    self._rooms.pop(room_id)
    return True


async def whole_seconds(self: MemoryRoomStore, room_id: str) -> timedelta | None:
    """Cut a TTL to whole seconds."""
    left = self._rooms.remaining_ms(room_id)
    return None if left is None else timedelta(seconds=left // 1000)


async def list_everything(self: MemoryRoomStore) -> AsyncIterator[str]:
    """List rooms that have expired and were not freed yet."""
    for shard in list(self._rooms._shards.values()):
        for key in list(cast("Any", shard)._Cache__data):
            yield key


async def list_twice(self: MemoryRoomStore) -> AsyncIterator[str]:
    """List each room once for each time that somebody looks."""
    for room_id in self._rooms.live_keys():
        yield room_id
        yield room_id


async def sweep_nothing(self: MemoryRoomStore) -> int:
    """Say that nothing was swept."""
    self._rooms.free()
    return 0


async def sweep_late(self: MemoryRoomStore) -> int:
    """Look which rooms are dead, wait, and then remove them, whatever lives by now."""
    dead = {
        key
        for shard in self._rooms._shards.values()
        for key in list(cast("Any", shard)._Cache__data)
        if self._rooms.get(key) is None
    }
    await asyncio.sleep(0)
    for key in dead:
        self._rooms.pop(key)
    self._rooms.free()
    return len(dead)


def append_with(change: Callable[[Sequence[ChatMessage], ChatMessage, int], tuple[ChatMessage, ...] | None]) -> Patch:
    """Append by another rule."""
    return rules, "append", change


def trimmed_to(extra: int) -> Patch:
    """Keep so many messages more than the limit."""
    original = rules.append
    return append_with(lambda kept, message, limit: original(kept, message, limit + extra))


async def read_untrimmed(self: MemoryChatStore, room_id: str) -> Sequence[ChatMessage]:
    """Return all that is stored, whatever the limit."""
    entry = self._chats.get(room_id)
    return () if entry is None else entry.value


async def read_newest_first(self: MemoryChatStore, room_id: str, limit: int | None = None) -> list[ChatMessage]:
    """Return the messages backwards."""
    return (await READ_MESSAGES(self, room_id, limit))[::-1]


async def read_oldest(self: MemoryChatStore, room_id: str, limit: int | None = None) -> list[ChatMessage]:
    """Return the oldest messages when the newest are wanted."""
    found = await READ_MESSAGES(self, room_id)
    if limit is not None and limit < 0:
        message = "limit"
        raise ValueError(message)
    return found[:limit]


async def read_and_renew(self: MemoryChatStore, room_id: str) -> Sequence[ChatMessage]:
    """Renew the chat on every read."""
    entry = self._chats.get(room_id)
    if entry is None:
        return ()
    self._chats.set(room_id, entry.value, self._chat_ttl_ms)
    return entry.value


async def append_without_renewal(self: MemoryChatStore, message: ChatMessage) -> None:
    """Leave the chat the TTL of its first message."""
    left = self._chats.remaining_ms(message.room_id)
    kept = rules.append(await self._read(message.room_id), message, self._settings.chat_history_limit)
    if kept is not None:
        self._chats.set(message.room_id, kept, left or self._chat_ttl_ms)


def renewing_the_room() -> Patch:
    """Let a message renew its room."""

    async def broken(self: MemoryChatStore, message: ChatMessage) -> None:
        await APPEND(self, message)
        for rooms in ROOM_STORES:
            entry = rooms._rooms.get(message.room_id)
            if entry is not None and rooms._chats is self._chats:
                rooms._rooms.set(message.room_id, entry.value, rooms._room_ttl_ms)

    return MemoryChatStore, "_append", broken


def remembering_stores() -> Patch:
    """Remember the room stores that are made."""

    def init(self: MemoryRoomStore, *args: Any) -> None:
        INIT(self, *args)
        ROOM_STORES.append(self)

    return MemoryRoomStore, "__init__", init


async def commit_renewing_the_chat(self: MemoryRoomStore, before: Any, result: Room | None) -> Any:
    """Let every write to a room renew its chat."""
    conflict = await COMMIT(self, before, result)
    chat = self._chats.get(before.room.id)
    if chat is not None:
        self._chats.set(before.room.id, chat.value, 86_400_000)
    return conflict


def leave_writing(room: Room, user_id: str) -> Room | None:
    """Write the room even when a stranger leaves."""
    users = tuple(user for user in room.users if user.id != user_id)
    return LEAVE(room, user_id) if len(users) < len(room.users) or not users else revised(room)


def leave_by_a_stranger_deletes(room: Room, user_id: str) -> Room | None:
    """Delete a room that is empty after a leave, whoever left: the original's way."""
    return LEAVE(room, user_id) if room.users else None


def leave_keeping_the_empty_room(room: Room, user_id: str) -> Room | None:
    """Keep a room that nobody is in."""
    result = LEAVE(room, user_id)
    return revised(room, users=()) if result is None else result


def leave_to_the_last(room: Room, user_id: str) -> Room | None:
    """Make the last user host instead of the first."""
    result = LEAVE(room, user_id)
    if result is None or user_id != room.host_id:
        return result
    *others, last = (user.model_copy(update={"is_host": False}) for user in result.users)
    last = last.model_copy(update={"is_host": True})
    return result.model_copy(update={"users": (*others, last), "host_id": last.id, "host_name": last.name})


def leave_without_rank(room: Room, user_id: str) -> Room | None:
    """Hand over the id and not `is_host`."""
    result = LEAVE(room, user_id)
    if result is None or user_id != room.host_id:
        return result
    return result.model_copy(update={"users": room.users[1:]})


def join_twice(room: Room, user: User) -> Room:
    """Add a user who is there already."""
    return revised(room, users=(*room.users, user))


def join_in_place(room: Room, user: User) -> Room:
    """Leave a user who joins again where they were."""
    if room.user(user.id) is None:
        return JOIN(room, user)
    return revised(
        room, users=tuple(rules._inherit_unknown_fields(one, user) if one.id == user.id else one for one in room.users)
    )


def join_claiming_host(room: Room, user: User) -> Room:
    """Believe a user who says that they are host."""
    result = JOIN(room, user)
    return result.model_copy(update={"host_id": user.id, "host_name": user.name}) if user.is_host else result


def join_forgetting_the_old_user(room: Room, user: User) -> Room:
    """Drop the unknown fields of a user who joins again."""
    return revised(room, users=(*(one for one in room.users if one.id != user.id), user))


def transfer_to_anybody(room: Room, user_id: str) -> Room:
    """Let a stranger be host."""
    try:
        return TRANSFER(room, user_id)
    except UserNotFoundError:
        return revised(room, host_id=user_id)


def append_by_text(kept: Sequence[ChatMessage], message: ChatMessage, limit: int) -> tuple[ChatMessage, ...] | None:
    """Take a message for known when its id stands anywhere in a kept one."""
    if any(f'"{message.id}"'.encode() in to_wire(one) for one in kept):
        return None
    return (*kept, message)[-limit:]


def append_always(kept: Sequence[ChatMessage], message: ChatMessage, limit: int) -> tuple[ChatMessage, ...]:
    """Append without looking."""
    return (*kept, message)[-limit:]


def append_forgetting_the_oldest(
    kept: Sequence[ChatMessage], message: ChatMessage, limit: int
) -> tuple[ChatMessage, ...] | None:
    """Look for a repetition among all but the oldest kept message."""
    return None if any(one.id == message.id for one in kept[1 - limit :]) else (*kept, message)[-limit:]


def thawed(value: Any) -> Any:
    """Return a JSON value that can be changed in place."""
    if isinstance(value, dict):
        return {key: thawed(member) for key, member in cast("dict[str, Any]", value).items()}
    return [thawed(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


async def insert_thawed(self: MemoryRoomStore, room: Room) -> bool:
    """Keep records that can be changed in place."""
    extra = {name: thawed(value) for name, value in (room.model_extra or {}).items()}
    return await INSERT(self, room.model_copy(update=extra))


async def load_or_absent(self: RedisRoomStore, room_id: str) -> Any:
    """Take a corrupt room for absent."""
    try:
        return await REDIS_LOAD(self, room_id)
    except base_module.CorruptRecordError:
        return None


def decode_all_or_nothing(_self: RedisChatStore, key: str, entries: Sequence[bytes]) -> list[ChatMessage]:
    """Let one bad entry hide all the others."""
    try:
        return [from_wire(ChatMessage, entry, key=key) for entry in entries]
    except base_module.CorruptRecordError:
        return []


def write_null_token(record: Any) -> bytes:
    """Write an absent host token as null."""
    data = to_wire(record)
    return data.replace(b'"videoUrl"', b'"hostToken":null,"videoUrl"') if b"hostToken" not in data else data


def write_seconds(record: Any) -> bytes:
    """Write a message's timestamp in seconds."""
    if isinstance(record, ChatMessage):
        record = record.model_copy(update={"timestamp": int(record.timestamp) // 1000})
    return to_wire(record)


def stamp_in_seconds(room: Room, video_url: str, video_type: str, *, now_ms: int) -> Room:
    """Stamp a new video in seconds."""
    return SET_VIDEO(room, video_url, video_type, now_ms=now_ms // 1000)


def video_keeping_its_place(room: Room, video_url: str, video_type: str, *, now_ms: int) -> Room:
    """Leave the position of the old video."""
    result = SET_VIDEO(room, video_url, video_type, now_ms=now_ms)
    state = result.video_state.model_copy(update={"current_time": room.video_state.current_time})
    return result.model_copy(update={"video_state": state})


def anything_goes(_kind: str, value: object) -> str:
    """Take any id."""
    return cast("str", value)


class SeparateHarness(MemoryHarness):
    """Clients that do not see one another's data."""

    def open_store(self, **settings: Any) -> Any:
        """Return a store on data of its own."""
        self._database = MemoryDatabase(self._clock)
        return super().open_store(**settings)


INIT, INSERT, COMMIT = MemoryRoomStore.__init__, MemoryRoomStore._insert, MemoryRoomStore._commit
REDIS_LOAD = RedisRoomStore._load
READ_MESSAGES, APPEND = MemoryChatStore.get_messages, MemoryChatStore._append
LEAVE, JOIN, TRANSFER, SET_VIDEO = rules.leave, rules.join, rules.transfer_host, rules.set_video
ROOM_STORES: list[MemoryRoomStore] = []
PATIENCE = itertools.count(1000, -1)
LEAVE_ROOM = MemoryRoomStore.remove_user_from_room
HANDOVER = "test_the_host_hands_over_to_the_first"

MISTAKES = [
    mistake(
        "a create overwrites",
        {"create_refuses_an_id_that_lives", "a_refused_create_keeps_the_chat", "one_of_many_creates_wins"},
        (MemoryRoomStore, "_insert", insert_always),
    ),
    mistake(
        "a create keeps old chat", "create_clears_chat_left_behind", (MemoryRoomStore, "_insert", insert_keeping_chat)
    ),
    mistake(
        "an update makes a ghost",
        {"update_makes_no_ghost", "update_refuses_a_deleted_room", "writes_find_no_expired_room"},
        (MemoryRoomStore, "update_room", update_anyway),
    ),
    mistake(
        "an update merges",
        "update_replaces_all_of_a_room",
        after(
            "replace", lambda before, new: new.model_copy(update={"host_token": new.host_token or before.host_token})
        ),
    ),
    *(
        mistake(f"{method} does not renew", f"{method}_renews", without_renewal(method))
        for method in (
            "update_room",
            "edit_room",
            "remove_user_from_room",
            "transfer_host",
            "update_video_state",
            "set_video_url",
        )
    ),
    mistake(
        "add_user_to_room does not renew",
        {"add_user_to_room_renews", "clients_may_differ_in_settings"},
        without_renewal("add_user_to_room"),
    ),
    mistake(
        "reading a room renews it",
        {"reading_a_room_renews_nothing", "a_room_lives_for_24_hours"},
        (MemoryRoomStore, "get_room", load_and_renew),
    ),
    mistake("the last becomes host", HANDOVER, (rules, "leave", leave_to_the_last)),
    mistake("isHost is not handed over", "the_host_hands_over_the_rank", (rules, "leave", leave_without_rank)),
    mistake(
        "hostName is not handed over",
        "the_host_hands_over_the_name",
        after("leave", lambda before, result: result.model_copy(update={"host_name": before.host_name})),
    ),
    mistake(
        "the host token goes with the host",
        "the_host_token_stays",
        after(
            "leave",
            lambda before, result: result.model_copy(
                update={"host_token": None if result.host_id != before.host_id else before.host_token}
            ),
        ),
    ),
    mistake(
        "an empty room is kept",
        {
            "the_last_one_out_deletes_the_room",
            "the_last_one_out_takes_the_chat_along",
            "all_leave_at_the_same_moment",
            "deleted_rooms_are_not_listed",
        },
        (rules, "leave", leave_keeping_the_empty_room),
    ),
    mistake(
        "a deletion leaves the chat",
        "delete_takes_the_chat_along",
        (MemoryRoomStore, "delete_room", delete_leaving_chat),
    ),
    mistake(
        "the last one out leaves the chat",
        {"the_last_one_out_takes_the_chat_along", "delete_takes_the_chat_along"},
        (MemoryRoomStore, "_remove", remove_leaving_chat),
    ),
    mistake(
        "everybody deleted the room",
        {"delete_tells_who_deleted", "one_of_many_deletes_wins", "writes_find_no_expired_room"},
        (MemoryRoomStore, "_remove", always_removed),
    ),
    mistake("a rejoin duplicates", "a_rejoin_moves_to_the_end", (rules, "join", join_twice)),
    mistake("a rejoin keeps its place", "a_rejoin_moves_to_the_end", (rules, "join", join_in_place)),
    mistake("a join takes the room over", "a_join_leaves_the_rest_of_the_room", (rules, "join", join_claiming_host)),
    mistake("a stranger's leave is a write", "a_stranger_can_not_leave", (rules, "leave", leave_writing)),
    mistake(
        "a stranger's leave deletes", "a_stranger_deletes_no_empty_room", (rules, "leave", leave_by_a_stranger_deletes)
    ),
    mistake(
        "a transfer leaves the old host's rank",
        "a_transfer_ends_the_old_hosts_rank",
        after(
            "transfer_host",
            lambda before, result: result.model_copy(
                update={
                    "users": tuple(
                        user.model_copy(update={"is_host": user.is_host or user.id == before.host_id})
                        for user in result.users
                    )
                }
            ),
        ),
    ),
    mistake("a transfer goes to anybody", "a_transfer_needs_the_user", (rules, "transfer_host", transfer_to_anybody)),
    mistake("a lost update", JOINS_AND_LEAVES, (MemoryRoomStore, "_mutate", mutate_without_compare)),
    mistake(
        "a handover in two steps",
        "the_host_is_always_in_the_room",
        (MemoryRoomStore, "remove_user_from_room", leave_in_two_steps),
    ),
    mistake("a late join revives", "a_late_join_revives_no_room", (MemoryRoomStore, "add_user_to_room", revive)),
    mistake("a new video keeps its place", "a_new_video_starts_anew", (rules, "set_video", video_keeping_its_place)),
    mistake(
        "a new video is stamped in seconds", "a_new_video_is_stamped_with_now", (rules, "set_video", stamp_in_seconds)
    ),
    *(
        mistake(f"{rule} does not raise rev", f"{method}_raises_the_revision", without_revision(rule))
        for rule, method in (
            ("join", "add_user_to_room"),
            ("leave", "remove_user_from_room"),
            ("transfer_host", "transfer_host"),
            ("update_video_state", "update_video_state"),
            ("set_video", "set_video_url"),
        )
    ),
    mistake(
        "a join drops unknown fields",
        {"a_join_keeps_unknown_fields", "a_rejoin_keeps_unknown_fields"},
        without_unknown_fields("join"),
    ),
    mistake(
        "a rejoin drops the user's unknown fields",
        "a_rejoin_keeps_unknown_fields",
        (rules, "join", join_forgetting_the_old_user),
    ),
    mistake("a leave drops unknown fields", "a_leave_keeps_unknown_fields", without_unknown_fields("leave")),
    mistake(
        "a transfer drops unknown fields", "a_transfer_keeps_unknown_fields", without_unknown_fields("transfer_host")
    ),
    mistake(
        "a new video drops the state's unknown fields",
        "a_new_video_keeps_unknown_fields",
        without_unknown_fields("set_video", state=True),
    ),
    mistake(
        "a video state drops the state's unknown fields",
        "a_video_state_keeps_unknown_fields",
        without_unknown_fields("update_video_state", state=True),
    ),
    mistake("state is shared", "returned_records_are_not_shared", (MemoryRoomStore, "_insert", insert_thawed)),
    mistake("dead rooms are listed", {"expired_rooms_are_not_listed"}, (MemoryRoomStore, "_list", list_everything)),
    mistake(
        "rooms are listed twice",
        {
            "live_rooms_are_listed",
            "many_rooms_are_listed",
            "deleted_rooms_are_not_listed",
            "expired_rooms_are_not_listed",
            "the_sweep_counts_what_it_removes",
            "listing_bears_changes",
            "listing_renews_nothing",
        },
        (MemoryRoomStore, "_list", list_twice),
    ),
    mistake("a sweep counts nothing", "the_sweep_counts_what_it_removes", (MemoryRoomStore, "_sweep", sweep_nothing)),
    mistake(
        "a sweep removes what was created meanwhile",
        "a_room_created_during_a_sweep_is_listed",
        (MemoryRoomStore, "_sweep", sweep_late),
    ),
    mistake(
        "TTLs in whole seconds", "a_rooms_ttl_is_exact_to_the_millisecond", (MemoryRoomStore, "_ttl", whole_seconds)
    ),
    mistake(
        "19 messages are kept",
        {
            "the_oldest_kept_message_can_not_be_repeated",
            "twenty_messages_are_kept",
            "the_history_limit_can_be_set",
            "messages_at_the_same_moment_all_count",
        },
        trimmed_to(-1),
    ),
    mistake(
        "21 messages are kept",
        {"twenty_messages_are_kept", "the_history_limit_can_be_set", "messages_at_the_same_moment_all_count"},
        trimmed_to(1),
        (MemoryChatStore, "_read", read_untrimmed),
    ),
    mistake(
        "messages come newest first",
        {
            "messages_come_oldest_first",
            "twenty_messages_are_kept",
            "the_history_limit_can_be_set",
            "a_limit_asks_for_the_newest",
            "a_repeated_message_changes_nothing",
            "the_oldest_kept_message_can_not_be_repeated",
            "only_the_id_of_the_message_counts",
        },
        (MemoryChatStore, "get_messages", read_newest_first),
    ),
    mistake(
        "a limit asks for the oldest", "a_limit_asks_for_the_newest", (MemoryChatStore, "get_messages", read_oldest)
    ),
    mistake(
        "an append is not idempotent",
        {
            "a_repeated_message_changes_nothing",
            "the_oldest_kept_message_can_not_be_repeated",
            "a_message_of_half_an_emoji_is_known_again",
            "one_message_many_times_is_kept_once",
        },
        append_with(append_always),
    ),
    mistake(
        "an append forgets the oldest message",
        "the_oldest_kept_message_can_not_be_repeated",
        append_with(append_forgetting_the_oldest),
    ),
    mistake("an append looks for the id anywhere", "only_the_id_of_the_message_counts", append_with(append_by_text)),
    mistake(
        "a message does not renew the chat",
        "each_message_renews_the_chat",
        (MemoryChatStore, "_append", append_without_renewal),
    ),
    mistake(
        "reading a chat renews it",
        {
            "reading_a_chat_renews_nothing",
            "a_chat_lives_for_24_hours",
            "the_chat_ttl_can_be_set",
            "each_message_renews_the_chat",
        },
        (MemoryChatStore, "_read", read_and_renew),
    ),
    mistake("a message renews the room", "a_message_renews_no_room", remembering_stores(), renewing_the_room()),
    mistake(
        "a room's write renews the chat",
        "writing_a_room_renews_no_chat",
        (MemoryRoomStore, "_commit", commit_renewing_the_chat),
    ),
    mistake(
        "any id goes",
        {"bad_room_ids_are_refused", "bad_user_ids_are_refused", "bad_ids_in_a_chat_are_refused"},
        (base_module, "check_id", anything_goes),
    ),
    mistake(
        "a closed store works on",
        {"a_closed_store_refuses_everything", "a_closed_store_lists_nothing", "a_closed_chat_refuses_everything"},
        (Lifecycle, "ensure_open", lambda _self: None),
    ),
    mistake(
        "clients do not share",
        {
            "a_second_client_sees_the_same",
            "two_clients_join_at_the_same_moment",
            "closing_one_client_leaves_the_other",
            "clients_may_differ_in_settings",
            "a_room_created_during_a_sweep_is_listed",
        },
        harness=SeparateHarness,
    ),
    mistake(
        "an absent token becomes null",
        {"an_absent_host_token_stays_absent", "every_room_of_node_is_carried_unchanged"},
        (redis_rooms, "to_wire", write_null_token),
        harness=FakeHarness,
    ),
    mistake(
        "a timestamp in seconds",
        {
            "a_message_is_stored_as_node_writes_it",
            "a_message_is_read_back",
            "a_message_of_half_an_emoji_is_known_again",
            "every_message_of_node_is_read",
        },
        (redis_chat, "to_wire", write_seconds),
        harness=FakeHarness,
    ),
    mistake(
        "a corrupt room is absent",
        {"a_corrupt_room_is_not_absent", "a_corrupt_record_stays_private", "a_room_under_another_id_is_corrupt"},
        (RedisRoomStore, "_load", load_or_absent),
        harness=FakeHarness,
    ),
    mistake(
        "a corrupt message hides the others",
        "a_corrupt_message_hides_no_other",
        (RedisChatStore, "_decode", decode_all_or_nothing),
        harness=FakeHarness,
    ),
]
