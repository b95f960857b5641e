"""Names and calls of every operation of a store."""

from __future__ import annotations

from datetime import timedelta
from inspect import getmembers, isfunction

from wnc_store import AppEvent, ChatStore, ConnectionCounter, RateLimiter, Room, RoomStore, Store, StoreError
from wnc_store_contract.factories import message, room, user

_PROTOCOLS: dict[str, type] = {
    "rooms": RoomStore,
    "chat": ChatStore,
    "connections": ConnectionCounter,
    "rate_limits": RateLimiter,
}
SECRETS = ("SECRET-9f1c", "A-room", "B-room", "A-user", "A-name", "A-text", "A-connection", "A-client")
"""Every id, name, text and token of the calls of `refusals`."""


def operations() -> set[str]:
    """Return the names of the operations of rooms, chat and limits, such as "rooms.create_room"."""
    return {
        f"{part}.{name}"
        for part, protocol in _PROTOCOLS.items()
        for name, _ in getmembers(protocol, isfunction)
        if not name.startswith("_")
    }


async def refusals(store: Store) -> list[StoreError]:
    """Call every operation and return the errors. Only the room B-room remains, with its index."""
    rooms, chat, connections, limits = store.rooms, store.chat, store.connections, store.rate_limits

    async def listed() -> list[str]:
        return [one async for one in rooms.active_room_ids()]

    async def read_all() -> list[Room]:
        return [one async for one in rooms.active_rooms()]

    async def create_and_delete() -> None:
        made = await rooms.create_room_with_code(user("A-user", name="A-name"))
        await rooms.delete_room(made.id)

    async def subscribe() -> None:
        async with store.events.subscribe("A-room"):
            pass

    errors: list[StoreError] = []
    for operation in (
        store.ping,
        subscribe,
        subscribe,  # the error of unsubscribing arrives with the second call
        lambda: store.events.publish("A-room", AppEvent(room_id="A-room", name="A-name", value="A-text")),
        lambda: rooms.create_room(room("A-room", "A-user", host_token=SECRETS[0])),
        lambda: rooms.create_room(room("B-room")),
        create_and_delete,
        lambda: rooms.get_room("A-room"),
        lambda: rooms.get_rooms(["A-room", "B-room"]),
        lambda: rooms.room_exists("A-room"),
        lambda: rooms.room_ttl("A-room"),
        listed,
        read_all,
        lambda: rooms.update_room("A-room", room("A-room", "A-user")),
        lambda: rooms.edit_room("A-room", lambda found: found.replace(host_name="A-name")),
        lambda: rooms.add_user_to_room("A-room", user("A-user2", name="A-name")),
        lambda: rooms.transfer_host("A-room", "A-user2"),
        lambda: rooms.rotate_host_token("A-room"),
        lambda: rooms.update_video_state("A-room", room("A-room").video_state),
        lambda: rooms.set_video_url("A-room", "https://A-text"),
        lambda: rooms.remove_user_from_room("A-room", "A-user2"),
        rooms.sweep_active_rooms,
        lambda: chat.add_message(message(1, "A-room", message="A-text")),
        lambda: chat.edit_message("A-room", "m1", lambda found: found.model_copy(update={"message": "A-text2"})),
        lambda: chat.get_messages("A-room"),
        lambda: chat.chat_ttl("A-room"),
        lambda: chat.remove_message("A-room", "m1"),
        lambda: chat.clear_messages("A-room"),
        lambda: connections.acquire("A-client", "A-connection", limit=2, ttl=timedelta(minutes=1)),
        lambda: connections.count("A-client"),
        lambda: connections.release("A-client", "A-connection"),
        lambda: limits.hit("A-client"),
        lambda: limits.hit("A-client"),
        lambda: limits.peek("A-client"),
        lambda: limits.reset("A-client"),
        lambda: rooms.delete_room("A-room"),
    ):
        try:
            await operation()
        except StoreError as error:
            errors.append(error)
    return errors
