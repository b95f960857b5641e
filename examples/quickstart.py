"""Quickstart: a room with two users and a chat, on the store that WNC_STORE_URL names or in memory."""

import asyncio

from wnc_store import ChatMessage, Room, User, open_store


async def main() -> None:
    """Create a room, add a guest and a message, and print what is stored."""
    host = User(id="u1", name="Ada")
    async with open_store() as store:
        await store.rooms.create_room(Room.hosted_by(host, room_id="A3X9K2"))
        room = await store.rooms.add_user_to_room("A3X9K2", User(id="u2", name="Grace"))
        await store.chat.add_message(ChatMessage(room_id=room.id, user_id="u2", user_name="Grace", message="hello"))
        print(room.host_name, [user.name for user in room.users])
        print([message.message for message in await store.chat.get_messages(room.id)])
        await store.rooms.delete_room(room.id)


asyncio.run(main())
