"""The model of the state machine: the expected state of a store, and a subscriber that replays events.

The model does not use `wnc_store.rules`, so that an error in a rule is not repeated in the model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from wnc_store import Record, to_wire

DAY, HISTORY_LIMIT = 86400, 20

Json = dict[str, Any]


def json_of(record: Record) -> Json:
    """Return the JSON of a record."""
    return json.loads(to_wire(record))


@dataclass
class ModelRoom:
    """The expected JSON of a room, and when the room expires."""

    value: Json
    expires: int

    @property
    def users(self) -> list[Json]:
        """The users."""
        return self.value["users"]

    @property
    def waits(self) -> bool:
        """Whether the room waits for users."""
        return not self.users and self.value.get("isWaiting") is True

    def end_wait(self, joining: Json) -> None:
        """Make a user who joins a room that waits its host."""
        if self.waits:
            del self.value["isWaiting"]
            if self.value["hostId"] != joining["id"]:
                self.value.update(hostId=joining["id"], hostName=joining["name"])

    def user(self, user_id: str) -> Json | None:
        """Return a user, or None."""
        return next((member for member in self.users if member["id"] == user_id), None)

    def forget_token(self) -> None:
        """Expect another host token than the current one, which the model does not know."""
        self.value["formerToken"] = self.value.pop("hostToken", None)

    def learn_token(self, found: Json) -> None:
        """After `forget_token`, expect the token that the store has stored, if it is a new one."""
        if "formerToken" in self.value and found.get("hostToken") not in {None, self.value["formerToken"]}:
            del self.value["formerToken"]
            self.value["hostToken"] = found["hostToken"]

    def make_host(self, member: Json) -> None:
        """Make a user the host."""
        member["isHost"] = True
        self.value.update(hostId=member["id"], hostName=member["name"])


@dataclass
class Model:
    """The expected state of the store. Each value is stored with the time at which it expires."""

    empty_room_ttl: int | None = None
    now: int = 0
    rooms: dict[str, ModelRoom] = field(default_factory=dict[str, ModelRoom])
    chats: dict[str, tuple[list[Json], int]] = field(default_factory=dict[str, tuple[list[Json], int]])
    leases: dict[str, dict[str, int]] = field(default_factory=lambda: {"A": {}, "B": {}})
    hits: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    expired: set[str] = field(default_factory=set[str])
    """Ids of expired rooms that the index may still contain."""

    def write(self, room_id: str) -> ModelRoom | None:
        """Count a write of a room, if it is live, and return the room."""
        room = self.rooms.get(room_id)
        if room:
            room.value["rev"] += 1
            room.expires = self.now + DAY
        return room

    def settle(self, room_id: str, *, waited: bool) -> None:
        """After a write of a room, set the TTLs of a room that waits for users, or that has ended its wait."""
        room, (messages, _) = self.rooms[room_id], self.chats.get(room_id, ([], 0))
        ttl = self.empty_room_ttl if room.waits else DAY
        if ttl is not None and (room.waits or waited):
            room.expires = self.now + ttl
            if messages:
                self.chats[room_id] = (messages, room.expires)

    def delete(self, room_id: str) -> bool:
        """Delete a room and its chat."""
        self.chats.pop(room_id, None)
        return self.rooms.pop(room_id, None) is not None

    def messages(self, room_id: str) -> list[Json]:
        """Return the messages of a chat."""
        return self.chats.get(room_id, ([], 0))[0]

    def message(self, room_id: str, message_id: str) -> Json | None:
        """Return a message of a chat, or None."""
        return next((entry for entry in self.messages(room_id) if entry["id"] == message_id), None)

    def renew_chat(self, room_id: str) -> None:
        """Count a write of a chat. A chat without messages does not exist."""
        messages = self.chats.pop(room_id)[0]
        if messages:
            self.chats[room_id] = (messages, self.now + DAY)

    def count(self, key: str) -> int:
        """Return the hits of a key."""
        return self.hits.get(key, (0, 0))[0]

    def advance(self, seconds: int) -> None:
        """Advance the time and delete what has expired."""
        self.now += seconds
        self.expired |= {room_id for room_id, room in self.rooms.items() if room.expires <= self.now}
        self.rooms = {room_id: room for room_id, room in self.rooms.items() if room.expires > self.now}
        self.chats = {room_id: chat for room_id, chat in self.chats.items() if chat[1] > self.now}
        self.hits = {key: hits for key, hits in self.hits.items() if hits[1] > self.now}
        for key, leases in self.leases.items():
            self.leases[key] = {lease: expires for lease, expires in leases.items() if expires > self.now}


def replay(value: Json | None, events: Sequence[Json]) -> Json | None:
    """Return the room that a subscriber reconstructs from its copy and events; None if it must read the room."""
    value = cast("Json | None", json.loads(json.dumps(value)))
    for event in events:
        if value is None or event["type"] in {"roomChanged", "resync"}:
            return None
        value["rev"] = event["rev"]
        users: list[Json] = value["users"]
        match event["type"]:
            case "userJoined" | "userLeft":
                users = [member for member in users if member["id"] != event["user"]["id"]]
                value["users"] = [*users, event["user"]] if event["type"] == "userJoined" else users
            case "hostChanged":
                flags = {value["hostId"]: False, event["hostId"]: True}
                for member in users:
                    member["isHost"] = flags.get(member["id"], member["isHost"])
                value.update(hostId=event["hostId"], hostName=event["hostName"])
            case "videoSet":
                value.update({name: event[name] for name in ("videoUrl", "videoType", "videoState")})
            case "videoStateChanged":
                value["videoState"] = event["videoState"]
            case _:
                value["unexpected"] = event
    return value
