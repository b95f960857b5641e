"""Clauses about the events that the store publishes with its commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import uuid4

import pytest

from wnc_store import (
    ChatMessage,
    HostChanged,
    MessageAdded,
    MessagesCleared,
    Resync,
    Room,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    RoomExistsError,
    RoomNotFoundError,
    Store,
    UserJoined,
    UserLeft,
    UserNotFoundError,
    VideoSet,
    VideoState,
    VideoStateChanged,
    to_wire,
)
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.clauses.events import drain, next_event
from wnc_store_contract.factories import ROOM, message, room, user
from wnc_store_contract.harness import Capability

RESYNC = Resync(room_id=ROOM)


async def events_of(store: Store, change: Callable[[], Awaitable[object]]) -> Sequence[RoomEvent]:
    """Make a change and return the events of the room."""
    async with store.events.subscribe(ROOM) as events:
        await change()
        return await drain(store, events)


async def chat_events_of(store: Store, change: Callable[[], Awaitable[object]]) -> Sequence[RoomEvent]:
    """Make a change to the chat and return its events.

    A last message ends them, because a backend may publish chat events on a separate channel.
    """
    last = message(0, id=str(uuid4()))
    async with store.events.subscribe(ROOM) as events:
        await change()
        await store.chat.add_message(last)
        received: list[RoomEvent] = []
        while (event := await next_event(events)) != MessageAdded(room_id=ROOM, message=last):
            received.append(event)
        return received


async def open_with_room(context: ContractContext, *users: str) -> Store:
    """Open a store that publishes changes, and create a room with revision 1."""
    store = await context.open(publish_changes=True)
    await store.rooms.create_room(room(ROOM, *users))
    return store


class ChangeClauses:
    """Clauses about `publish_changes`."""

    @clause(Capability.EVENTS)
    async def test_changes_are_published_only_if_enabled(self, context: ContractContext) -> None:
        """Without publish_changes, the store publishes no changes."""
        store = await context.open()

        async def change() -> None:
            await store.rooms.create_room(room())
            await store.rooms.add_user_to_room(ROOM, user("guest"))
            await store.rooms.delete_room(ROOM)

        assert await events_of(store, change) == []

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_changes_of_a_chat_are_published_only_if_enabled(self, context: ContractContext) -> None:
        """Without publish_changes, the store publishes no changes of a chat."""
        store = await context.open()

        async def change() -> None:
            for number in (1, 2):
                await store.chat.add_message(message(number))
            await store.chat.edit_message(ROOM, "m1", lambda before: before.with_extra({"edited": True}))
            await store.chat.remove_message(ROOM, "m1")
            await store.chat.clear_messages(ROOM)

        async with store.events.subscribe(ROOM) as events:
            await change()
            for _ in range(2):  # a backend may publish chat events on a separate channel
                assert await drain(store, events) == []

    @clause(Capability.EVENTS)
    async def test_a_new_room_is_published(self, context: ContractContext) -> None:
        """Creating a room publishes RoomChanged without a revision."""
        store = await context.open(publish_changes=True)
        assert await events_of(store, lambda: store.rooms.create_room(room())) == [RoomChanged(room_id=ROOM)]

    @clause(Capability.EVENTS)
    async def test_a_join_is_published(self, context: ContractContext) -> None:
        """A join or a rejoin publishes UserJoined with the stored user and the room's revision."""
        store = await open_with_room(context, "host", "other")
        guest = user("guest", avatar="cat")
        joined = UserJoined(room_id=ROOM, rev=2, user=guest)
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, guest)) == [joined]
        again = user("other", name="Again")
        joined = UserJoined(room_id=ROOM, rev=3, user=again)
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, again)) == [joined]
        renamed = user("other", name="Renamed")
        joined = UserJoined(room_id=ROOM, rev=4, user=renamed)
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, renamed)) == [joined]

    @clause(Capability.EVENTS)
    async def test_a_leave_is_published(self, context: ContractContext) -> None:
        """A leave publishes UserLeft; if the host leaves, HostChanged follows with the same revision."""
        store = await open_with_room(context, "host", "guest", "last")
        rooms = store.rooms
        assert await events_of(store, lambda: rooms.remove_user_from_room(ROOM, "guest")) == [
            UserLeft(room_id=ROOM, rev=2, user=user("guest"))
        ]
        assert await events_of(store, lambda: rooms.remove_user_from_room(ROOM, "host")) == [
            UserLeft(room_id=ROOM, rev=3, user=user("host", is_host=True)),
            HostChanged(room_id=ROOM, rev=3, host_id="last", host_name="Name of last"),
        ]

    @clause(Capability.EVENTS)
    async def test_a_deleted_room_is_published(self, context: ContractContext) -> None:
        """A deletion, or the leave of the last user, publishes exactly one RoomClosed."""
        store = await open_with_room(context)
        assert await events_of(store, lambda: store.rooms.remove_user_from_room(ROOM, "host")) == [
            RoomClosed(room_id=ROOM, rev=2)
        ]
        await store.rooms.create_room(room())
        (closed,) = await events_of(store, lambda: store.rooms.delete_room(ROOM))
        assert isinstance(closed, RoomClosed)

    @clause(Capability.EVENTS)
    async def test_a_host_transfer_is_published(self, context: ContractContext) -> None:
        """transfer_host publishes only HostChanged, also in a room with co-hosts and other users."""
        store = await context.open(publish_changes=True)
        others = (user("cohost", is_host=True), user("guest"), user("other"))
        await store.rooms.create_room(room(users=(user("host", is_host=True), *others)))
        assert await events_of(store, lambda: store.rooms.transfer_host(ROOM, "guest")) == [
            HostChanged(room_id=ROOM, rev=2, host_id="guest", host_name="Name of guest")
        ]

    @clause(Capability.EVENTS)
    async def test_video_changes_are_published(self, context: ContractContext) -> None:
        """update_video_state publishes VideoStateChanged, and set_video_url publishes VideoSet."""
        store = await open_with_room(context)
        state = VideoState(is_playing=True, current_time=1.5, duration=60, last_update_time=1767225600001)
        assert await events_of(store, lambda: store.rooms.update_video_state(ROOM, state)) == [
            VideoStateChanged(room_id=ROOM, rev=2, video_state=state)
        ]
        url = "https://video.example/1"
        events = await events_of(store, lambda: store.rooms.set_video_url(ROOM, url, "m3u8"))
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert events == [
            VideoSet(room_id=ROOM, rev=3, video_url=url, video_type="m3u8", video_state=stored.video_state)
        ]

    @clause(Capability.EVENTS)
    async def test_edits_and_updates_are_published(self, context: ContractContext) -> None:
        """edit_room and update_room publish an event per known change, and RoomChanged for other changes."""
        store = await open_with_room(context, "host", "guest")

        def change(before: Room) -> Room:
            state = VideoState(current_time=3, last_update_time=1)
            users = (before.users[0], user("new"))
            return before.model_copy(update={"users": users, "video_state": state, "settings": {"theme": "dark"}})

        assert await events_of(store, lambda: store.rooms.edit_room(ROOM, change)) == [
            UserLeft(room_id=ROOM, rev=2, user=user("guest")),
            UserJoined(room_id=ROOM, rev=2, user=user("new")),
            VideoStateChanged(room_id=ROOM, rev=2, video_state=VideoState(current_time=3, last_update_time=1)),
            RoomChanged(room_id=ROOM, rev=2),
        ]
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        renewed = stored.replace(host_token="another-token")
        assert await events_of(store, lambda: store.rooms.update_room(ROOM, renewed)) == [
            RoomChanged(room_id=ROOM, rev=3)
        ]

    @clause(Capability.EVENTS)
    async def test_calls_without_effect_are_not_published(self, context: ContractContext) -> None:
        """Calls that change nothing and calls that fail publish no events."""
        store = await context.open(publish_changes=True)
        rooms = store.rooms
        await rooms.create_room(room())
        async with store.events.subscribe(ROOM) as events, store.events.subscribe("other") as other:
            await rooms.remove_user_from_room(ROOM, "nobody")
            await rooms.remove_user_from_room("other", "nobody")
            assert await rooms.delete_room("other") is False
            for error, call in (
                (RoomExistsError, lambda: rooms.create_room(room())),
                (UserNotFoundError, lambda: rooms.transfer_host(ROOM, "nobody")),
                (RoomNotFoundError, lambda: rooms.update_room("other", room("other"))),
                (ZeroDivisionError, lambda: rooms.edit_room(ROOM, lambda _room: 1 // 0)),  # type: ignore[arg-type]
            ):
                with pytest.raises(error):
                    await call()
            assert await drain(store, events) == []
            assert await drain(store, other, "other") == []

    @clause(Capability.EVENTS)
    async def test_concurrent_joins_are_all_published(self, context: ContractContext) -> None:
        """Concurrent joins publish one UserJoined each, with consecutive revisions, in commit order."""
        store = await open_with_room(context)
        joining = [store.rooms.add_user_to_room(ROOM, user(f"u{number}")) for number in range(50)]
        events = await events_of(store, lambda: asyncio.gather(*joining))
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert events == [
            UserJoined(room_id=ROOM, rev=rev, user=joined) for rev, joined in enumerate(stored.users[1:], start=2)
        ]
        assert len(events) == 50

    @clause(Capability.EVENTS, Capability.SHARED)
    async def test_concurrent_changes_of_two_clients_are_ordered(self, context: ContractContext) -> None:
        """Events of two clients that change a room concurrently arrive in the order of the revisions."""
        first, second = await open_with_room(context), await context.open(publish_changes=True)
        async with first.events.subscribe(ROOM) as events:
            joining = [
                store.rooms.add_user_to_room(ROOM, user(f"{name}{number}"))
                for number in range(15)
                for name, store in (("a", first), ("b", second))
            ]
            await asyncio.gather(*joining)
            assert [(await next_event(events)).rev for _ in range(30)] == list(range(2, 32))

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_a_message_is_published(self, context: ContractContext) -> None:
        """A new message publishes MessageAdded with all fields; a repeated message publishes nothing."""
        store = await context.open(publish_changes=True)
        sent = message(1, reactions={"👍": ["u1"]})
        added = MessageAdded(room_id=ROOM, message=sent)
        assert await chat_events_of(store, lambda: store.chat.add_message(sent)) == [added]
        assert await chat_events_of(store, lambda: store.chat.add_message(sent)) == []

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_a_cleared_chat_is_published(self, context: ContractContext) -> None:
        """Clearing messages publishes MessagesCleared; clearing an empty chat publishes nothing."""
        store = await context.open(publish_changes=True)
        assert await chat_events_of(store, lambda: store.chat.clear_messages(ROOM)) == []
        assert await chat_events_of(store, lambda: store.chat.clear_messages(ROOM)) == [MessagesCleared(room_id=ROOM)]

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_an_oversized_message_is_published_as_resync(self, context: ContractContext) -> None:
        """A message whose event would exceed max_event_bytes is stored and published as a Resync."""
        store = await context.open(publish_changes=True, max_event_bytes=1024)
        sent = message(1, message="x" * 1024)
        assert await chat_events_of(store, lambda: store.chat.add_message(sent)) == [RESYNC]
        assert sent in await store.chat.get_messages(ROOM)

    @clause(Capability.EVENTS)
    async def test_an_oversized_change_is_published_as_resync(self, context: ContractContext) -> None:
        """A change whose event would exceed max_event_bytes is committed and published as a Resync."""
        store = await context.open(publish_changes=True, max_event_bytes=1024)
        await store.rooms.create_room(room())
        large = user("guest", notes="x" * 1024)
        assert await events_of(store, lambda: store.rooms.add_user_to_room(ROOM, large)) == [RESYNC]
        stored = await store.rooms.get_room(ROOM)
        assert stored is not None
        assert stored.users[-1] == large

    @clause(Capability.EVENTS, Capability.LISTING)
    async def test_expiry_is_not_published(self, context: ContractContext) -> None:
        """Expiry and sweeps publish no events; a new room under the same id does."""
        store = await open_with_room(context)
        async with store.events.subscribe(ROOM) as events:
            await context.advance(86_401)
            await store.rooms.sweep_active_rooms()
            await store.rooms.delete_room(ROOM)
            assert await drain(store, events) == []
            await store.rooms.create_room(room())
            assert await drain(store, events) == [RoomChanged(room_id=ROOM)]

    @clause(Capability.EVENTS)
    async def test_host_tokens_are_not_published(self, context: ContractContext) -> None:
        """No event contains a host token."""
        store = await context.open(publish_changes=True)
        rooms = store.rooms

        async def life() -> None:
            await rooms.create_room(room(ROOM, "host", "guest", host_token="SECRET-1"))
            await rooms.edit_room(ROOM, lambda before: before.replace(host_token="SECRET-2"))
            await rooms.update_room(ROOM, room(ROOM, "host", "guest", host_token="SECRET-3"))
            await rooms.remove_user_from_room(ROOM, "host")
            await rooms.delete_room(ROOM)

        events = await events_of(store, life)
        assert len(events) >= 5
        assert b"SECRET" not in b"".join(map(to_wire, events))

    @clause(Capability.EVENTS)
    async def test_a_change_can_be_read_when_its_event_arrives(self, context: ContractContext) -> None:
        """A subscriber that reads the room when it receives an event reads the change that the event describes."""
        store = await open_with_room(context, "host", "guest")
        rooms = store.rooms
        writes: Sequence[Callable[[], Awaitable[object]]] = (
            lambda: rooms.add_user_to_room(ROOM, user("new")),
            lambda: rooms.transfer_host(ROOM, "guest"),
            lambda: rooms.update_video_state(ROOM, VideoState(current_time=7)),
            lambda: rooms.set_video_url(ROOM, "https://video.example/1"),
            lambda: rooms.edit_room(ROOM, lambda before: before.with_extra({"theme": "dark"})),
            lambda: rooms.update_room(ROOM, room(ROOM, "host", "guest")),
            lambda: rooms.remove_user_from_room(ROOM, "host"),
            lambda: rooms.delete_room(ROOM),
        )

        async def read_on_event(events: AsyncIterator[RoomEvent]) -> Room | None:
            await next_event(events)
            return await rooms.get_room(ROOM)

        for rev, write in enumerate(writes, start=2):
            async with store.events.subscribe(ROOM) as events:
                reading = asyncio.ensure_future(read_on_event(events))
                await write()
                stored = await reading
                assert (0 if stored is None else stored.rev) == (0 if write is writes[-1] else rev)

    @clause(Capability.EVENTS, Capability.CHAT)
    async def test_a_message_can_be_read_when_its_event_arrives(self, context: ContractContext) -> None:
        """A subscriber that reads the chat when it receives MessageAdded reads the message."""
        store = await context.open(publish_changes=True)

        async def read_on_event(events: AsyncIterator[RoomEvent]) -> Sequence[ChatMessage]:
            await next_event(events)
            return await store.chat.get_messages(ROOM)

        async with store.events.subscribe(ROOM) as events:
            for number in range(1, 3):
                reading = asyncio.ensure_future(read_on_event(events))
                await store.chat.add_message(message(number))
                assert len(await reading) == number
