"""All kinds of writes of a store, with their preparation and the key that they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from wnc_store import Room, Store, VideoState
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room, user

Step = Callable[[Store, str], Awaitable[Any]]


@dataclass(frozen=True)
class Write:
    """A kind of write.

    Attributes:
        name: used in ids of tests.
        call: the write on a room or chat with a given name.
        key: the type of the key that the write changes in one step.
        prepare: creates the data that the write needs.
        repeatable: whether the write is idempotent.
    """

    name: str
    call: Step
    key: str = "room"
    prepare: Step | None = None
    repeatable: bool = False

    async def read(self, store: Store, name: str) -> Any:
        """Read the data that the write changes."""
        if self.key == "room":
            return await store.rooms.get_room(name)
        if self.key == "chat":
            return await store.chat.get_messages(name)
        if self.key == "connections":
            return await store.connections.count(name)
        return await store.rate_limits.peek(name)


async def _two_users(store: Store, name: str) -> None:
    await store.rooms.create_room(room(name, "host", "guest"))


async def _one_user(store: Store, name: str) -> None:
    await store.rooms.create_room(room(name, "host"))


async def _talk(store: Store, name: str) -> None:
    await store.chat.add_message(message(1, name))


async def _lease(store: Store, name: str) -> None:
    await store.connections.acquire(name, "c1")


def _with_url(before: Room) -> Room:
    return before.model_copy(update={"video_url": "https://example.org/edited"})


WRITES = (
    Write("create", lambda store, name: store.rooms.create_room(room(name, "host", "guest"))),
    Write("join", lambda store, name: store.rooms.add_user_to_room(name, user("new")), prepare=_two_users),
    Write("leave", lambda store, name: store.rooms.remove_user_from_room(name, "host"), prepare=_two_users),
    Write("last leave", lambda store, name: store.rooms.remove_user_from_room(name, "host"), prepare=_one_user),
    Write(
        "video",
        lambda store, name: store.rooms.update_video_state(name, VideoState(current_time=77, last_update_time=5)),
        prepare=_two_users,
    ),
    Write("edit", lambda store, name: store.rooms.edit_room(name, _with_url), prepare=_two_users),
    Write("update", lambda store, name: store.rooms.update_room(name, room(name, "host", "other")), prepare=_two_users),
    Write("transfer", lambda store, name: store.rooms.transfer_host(name, "guest"), prepare=_two_users),
    Write("delete", lambda store, name: store.rooms.delete_room(name), prepare=_two_users),
    Write("message", lambda store, name: store.chat.add_message(message(2, name)), "chat", _talk),
    Write("edit message", lambda store, name: store.chat.edit_message(name, "m1", like), "chat", _talk),
    Write("remove message", lambda store, name: store.chat.remove_message(name, "m1"), "chat", _talk),
    Write("clear", lambda store, name: store.chat.clear_messages(name), "chat", _talk),
    Write("acquire", lambda store, name: store.connections.acquire(name, "c2"), "connections", _lease, repeatable=True),
    Write("release", lambda store, name: store.connections.release(name, "c1"), "connections", _lease),
    Write("hit", lambda store, name: store.rate_limits.hit(name), "rl"),
)
