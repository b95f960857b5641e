"""Plain asyncio without a framework or a container: `main` opens the store and passes it on. Run this file."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from wnc_store import ChatMessage, ChatStore, Room, RoomStore, User, open_store


class Party:
    """A watch party. It takes only the protocols that it uses, so that a test can pass simple fakes."""

    def __init__(self, rooms: RoomStore, chat: ChatStore) -> None:
        self._rooms = rooms
        self._chat = chat

    async def begin(self, room_id: str, host: str) -> Room:
        """Create a room with `host` as its only user."""
        room = Room.hosted_by(User(id=host, name=host), room_id=room_id)
        await self._rooms.create_room(room)
        return room

    async def greet(self, room_id: str, guest: str) -> list[str]:
        """Add a guest to the room, announce the guest in the chat, and return the texts of the chat."""
        await self._rooms.add_user_to_room(room_id, User(id=guest, name=guest))
        await self._chat.add_message(
            ChatMessage(room_id=room_id, user_id=guest, user_name=guest, message=f"{guest} is here")
        )
        return [message.message for message in await self._chat.get_messages(room_id)]


async def sweep_regularly(rooms: RoomStore, every: timedelta, report: Callable[[int], None]) -> None:
    """Remove dead rooms from the index at a regular interval until cancelled."""
    while True:
        report(await rooms.sweep_active_rooms())
        await asyncio.sleep(every.total_seconds())


async def main() -> None:
    """Open the store that WNC_STORE_URL names, and pass its rooms and chat to the parts of the app."""
    async with open_store() as store:
        sweeper = asyncio.create_task(sweep_regularly(store.rooms, timedelta(hours=1), lambda _removed: None))
        party = Party(store.rooms, store.chat)
        room = await party.begin("A3X9K2", "Ada")
        print(await party.greet(room.id, "Grace"))
        await store.rooms.delete_room(room.id)
        sweeper.cancel()  # the task must end before the store is closed
        await asyncio.gather(sweeper, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
