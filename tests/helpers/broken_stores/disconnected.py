"""Stores that are right as long as their connection is, and one defect each once it is cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from simulated_connection import Request, SimulatedStore
from wnc_store import ChatMessage, Room, StoreError, StoreUnavailableError
from wnc_store_memory import MemoryStore
from wnc_store_memory.chat import MemoryChatStore
from wnc_store_memory.chat_history import ChatHistory
from wnc_store_memory.limiters import MemoryConnectionCounter
from wnc_store_memory.ttl_map import TTLMap

DAY = 24 * 3600 * 1000
KEPT = 20


def rooms_of(store: SimulatedStore) -> TTLMap[Room]:
    """Return the rooms on the server."""
    return store.server.rooms._rooms


def chats_of(store: SimulatedStore) -> TTLMap[ChatHistory]:
    """Return the chats on the server."""
    return cast("MemoryChatStore", store.server.chat)._chats


def clear(entries: TTLMap[Any]) -> None:
    """Delete all entries."""
    for key in list(entries.live_keys()):
        entries.pop(key)


class RetriesEveryWrite(SimulatedStore):
    """Sends a write again if its reply is lost."""

    async def on_lost_reply(self, request: Request, _result: Any) -> Any:
        """Send it again."""
        return await self.call(request)


class CountsTwice(SimulatedStore):
    """Sends a hit again if its reply is lost."""

    async def on_lost_reply(self, request: Request, result: Any) -> Any:
        """Send a hit again."""
        return await (self.call(request) if request.name == "hit" else super().on_lost_reply(request, result))


class RepeatsAVideoState(SimulatedStore):
    """Sends a video state again if its reply is lost, without comparing the room."""

    async def on_lost_reply(self, request: Request, result: Any) -> Any:
        """Send a video state again."""
        is_video = request.name == "update_video_state"
        return await (self.call(request) if is_video else super().on_lost_reply(request, result))


class AppendsTwice(SimulatedStore):
    """Adds a message again if its reply is lost, without comparing its id."""

    async def on_lost_reply(self, request: Request, result: Any) -> Any:
        """Append a message again."""
        if request.name != "add_message":
            return await super().on_lost_reply(request, result)
        (message,) = request.args
        chats = chats_of(self)
        entry = chats.get(message.room_id)
        kept: Sequence[ChatMessage] = () if entry is None else entry.value.newest(KEPT)
        chats.set(message.room_id, ChatHistory([*kept, message]), DAY)
        return None


class RemovesTwice(SimulatedStore):
    """Removes a message again if its reply is lost, and returns that there was none."""

    async def on_lost_reply(self, request: Request, result: Any) -> Any:
        """Send a removal again."""
        is_removal = request.name == "remove_message"
        return await (self.call(request) if is_removal else super().on_lost_reply(request, result))


class AcknowledgesBeforeSaving(SimulatedStore):
    """Acknowledges messages some milliseconds before the server has saved them; a restart loses them."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._unsaved: list[ChatMessage] = []

    async def call(self, request: Request) -> Any:
        """Remember a message until it is saved."""
        if request.name != "add_message":
            return await super().call(request)

        async def apply() -> None:
            await request.apply()
            self._unsaved.append(request.args[0])
            asyncio.get_running_loop().call_later(0.005, self._unsaved.pop, 0)

        return await super().call(Request(request.name, request.args, apply))

    def restart(self) -> None:
        """Lose the messages that are not saved."""
        super().restart()
        chats = chats_of(self)
        for message in self._unsaved:
            if (entry := chats.get(message.room_id)) is not None:
                kept = [one for one in entry.value.newest(KEPT) if one.id != message.id]
                chats.set(message.room_id, ChatHistory(kept), DAY)


class LosesTheLastWrite(SimulatedStore):
    """Undoes its last change of a room when it reconnects."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._before: Room | None = None

    async def call(self, request: Request) -> Any:
        """Remember the room before a change."""
        if request.name != "update_video_state":
            return await super().call(request)

        async def apply() -> Any:
            self._before = await self.server.rooms.get_room(request.args[0])
            return await request.apply()

        return await super().call(Request(request.name, request.args, apply))

    def cut(self) -> None:
        """Undo the last change."""
        super().cut()
        if self._before is not None:
            rooms_of(self).set(self._before.id, self._before, DAY)
            self._before = None


class ReadsAStaleRoom(SimulatedStore):
    """Returns a room that it read before it reconnected."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._read: dict[str, Room | None] = {}
        self._stale: dict[str, Room | None] = {}

    async def call(self, request: Request) -> Any:
        """Return a stale room once."""
        if request.name != "get_room":
            return await super().call(request)
        (room_id,) = request.args
        if room_id in self._stale:
            return self._stale.pop(room_id)
        self._read[room_id] = await super().call(request)
        return self._read[room_id]

    def cut(self) -> None:
        """Keep the rooms that were read."""
        super().cut()
        self._stale.update(self._read)


class ReportsALostMessageAsAdded(SimulatedStore):
    """Returns normally if the request to add a message is lost."""

    async def on_lost_request(self, request: Request) -> Any:
        """Return without adding the message."""
        return None if request.name == "add_message" else await super().on_lost_request(request)


class ReportsALostLeaseAsAcquired(SimulatedStore):
    """Returns a count that includes a lease that was not acquired."""

    async def on_lost_request(self, request: Request) -> Any:
        """Return the count plus one."""
        if request.name == "acquire":
            return await self.server.connections.count(request.args[0]) + 1
        return await super().on_lost_request(request)


class ReportsAnAppliedWriteAsRefused(SimulatedStore):
    """Raises an error that means that nothing happened, although only the reply is missing."""

    async def on_lost_reply(self, request: Request, _result: Any) -> Any:
        """Raise the error of a lost request."""
        return await super().on_lost_request(request)


class SendsARefusedWriteLater(SimulatedStore):
    """Raises an error that means that nothing happened, and still has the request in a buffer."""

    async def on_lost_request(self, request: Request) -> Any:
        """Execute a hit later."""
        if request.name == "hit":
            with suppress(StoreError):
                await request.apply()
        return await super().on_lost_request(request)


class LosesLeases(SimulatedStore):
    """Ends all leases when it reconnects."""

    def cut(self) -> None:
        """End the leases."""
        super().cut()
        clear(cast("MemoryConnectionCounter", self.server.connections)._leases)


class LosesChats(SimulatedStore):
    """Starts with empty chats when it reconnects."""

    def cut(self) -> None:
        """Delete the chats."""
        super().cut()
        clear(chats_of(self))


class ResurrectsADeletedRoom(SimulatedStore):
    """Writes the rooms that it knows when it reconnects, if they are missing."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._known: dict[str, Room] = {}

    async def call(self, request: Request) -> Any:
        """Remember the rooms."""
        result = await super().call(request)
        if isinstance(result, Room):
            self._known[result.id] = result
        return result

    def cut(self) -> None:
        """Write the missing rooms."""
        super().cut()
        rooms = rooms_of(self)
        for room_id, room in self._known.items():
            if rooms.get(room_id) is None:
                rooms.set(room_id, room, DAY)


class MixesUpReplies(SimulatedStore):
    """Gives the reply of an interrupted call to the next call of the same method."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._left: dict[str, Any] = {}

    async def call(self, request: Request) -> Any:
        """Return the reply that was left."""
        result = await super().call(request)
        return self._left.pop(request.name, result)

    async def on_lost_reply(self, request: Request, result: Any) -> Any:
        """Leave the reply."""
        self._left[request.name] = result
        return await super().on_lost_reply(request, result)


class NeverReconnects(SimulatedStore):
    """Rejects all calls after its connection was cut."""

    async def call(self, request: Request) -> Any:
        """Reject a call."""
        if self._cuts:
            await asyncio.sleep(1)
            message = "the connection is interrupted"
            raise StoreUnavailableError(message)
        return await super().call(request)


class HangsAfterACut(SimulatedStore):
    """Waits forever for a reply that was lost."""

    async def on_lost_reply(self, request: Request, _result: Any) -> Any:
        """Wait for the reply of a hit."""
        if request.name == "hit":
            return await asyncio.get_running_loop().create_future()
        return await super().on_lost_reply(request, _result)


class RaisesTheErrorOfItsDriver(SimulatedStore):
    """Does not translate the error of a lost connection."""

    async def on_lost_request(self, request: Request) -> Any:
        """Raise an error that is not a StoreError."""
        raise ConnectionResetError(request.name)


DISCONNECTED = SimulatedStore.__subclasses__()
"""The stores that are right without faults."""


class MixesUpRepliesAfterACancellation(SimulatedStore):
    """Gives the reply of a cancelled call to the next call of the same method."""

    def __init__(self, server: MemoryStore, chance: random.Random) -> None:
        super().__init__(server, chance)
        self._left: dict[str, Any] = {}

    async def call(self, request: Request) -> Any:
        """Leave the reply of a cancelled call."""
        replies: list[Any] = []

        async def apply() -> Any:
            replies.append(await request.apply())
            return replies[-1]

        try:
            result = await super().call(Request(request.name, request.args, apply))
        except asyncio.CancelledError:
            if replies:
                self._left[request.name] = replies[-1]
            raise
        return self._left.pop(request.name, result)
