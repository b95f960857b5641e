"""The rules of the state machine about rooms."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from wnc_store import LimitExceededError, Room, RoomExistsError, RoomNotFoundError, UserNotFoundError, VideoState
from wnc_store_contract.factories import room, user
from wnc_store_contract.machine import CheckedMachine
from wnc_store_contract.model import DAY, Json, ModelRoom, json_of

ROOMS = st.sampled_from(["A", "B"])
USERS = st.sampled_from(["u1", "u2", "u3", "u4"])
PARTIES = st.lists(USERS, min_size=1, max_size=4, unique=True)
EXTRAS = st.sampled_from([{}, {"avatar": "cat"}, {"avatar": None, "tags": [1, 1.5, None]}])


def a_room_exists(machine: CheckedMachine) -> bool:
    """Return whether any room exists: the machine should not spend its steps on missing rooms only."""
    return bool(machine.model.rooms)


class RoomMachine(CheckedMachine):
    """Operations on rooms that run on both the store and the model."""

    @initialize()
    def begin(self) -> None:
        for room_id in ("A", "B"):
            self.create(room_id, ["u1", "u2", "u3", "u4"], {})
        # Few sequences choose a video and change the host before the room is replaced or expires.
        self.set_video("B", 1)

    @rule(room_id=ROOMS, party=PARTIES, extra=EXTRAS)
    def create(self, room_id: str, party: list[str], extra: Json) -> None:
        self.step(f"create_room {room_id} with {party} and {extra}")
        before, made = self.before(room_id), room(room_id, *party).with_extra(extra)
        operation = self.store.rooms.create_room(made)
        if before is not None:
            self.expect(RoomExistsError, operation)
        else:
            self.run(operation)
            self.model.delete(room_id)
            self.model.rooms[room_id] = ModelRoom({**json_of(made), "rev": 1}, self.model.now + DAY)
            self.model.expired.discard(room_id)
        self.check_events(room_id, before)

    @rule(user_id=USERS)
    def create_with_code(self, user_id: str) -> None:
        self.step(f"create_room_with_code {user_id}, and delete_room")
        made = self.run(self.store.rooms.create_room_with_code(user(user_id)))
        found = self.run(self.reader.rooms.get_room(made.id))
        self.equal("the room with a code", found and json_of(found), json_of(made))
        self.equal("the result", self.run(self.store.rooms.delete_room(made.id)), True)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS, extra=EXTRAS)
    def join(self, room_id: str, user_id: str, extra: Json) -> None:
        self.step(f"add_user_to_room {room_id} {user_id} with {extra}")
        joining = user(user_id, name=f"Name of {user_id}{len(extra) or ''}").with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.end_wait(json_of(joining))
            former = expected.user(user_id)
            carried = {name: former[name] for name in ("avatar", "tags") if name in former} if former else {}
            others = [member for member in expected.users if member["id"] != user_id]
            is_host = user_id == expected.value["hostId"]
            expected.value["users"] = [*others, {**carried, **json_of(joining), "isHost": is_host}]

        self.update(room_id, self.store.rooms.add_user_to_room(room_id, joining), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS)
    def leave(self, room_id: str, user_id: str) -> None:
        self.step(f"remove_user_from_room {room_id} {user_id}")
        before, expected = self.before(room_id), self.model.rooms.get(room_id)
        if expected and (leaving := expected.user(user_id)):
            self.model.write(room_id)
            expected.users.remove(leaving)
            if not expected.users and self.empty_room_ttl is not None:
                expected.value["isWaiting"] = True
                self.model.settle(room_id, waited=False)
            elif not expected.users:
                self.model.delete(room_id)
            elif expected.value["hostId"] == user_id:
                expected.make_host(expected.users[0])
        self.check(room_id, self.run(self.store.rooms.remove_user_from_room(room_id, user_id)))
        self.check_events(room_id, before)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def leave_as_host(self, room_id: str) -> None:
        if room_id in self.model.rooms:
            self.leave(room_id, self.model.rooms[room_id].value["hostId"])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def all_users_leave(self, room_id: str) -> None:
        # Single leaves rarely empty a room, because users join as often as they leave.
        if room_id in self.model.rooms:
            for member in tuple(self.model.rooms[room_id].users):
                self.leave(room_id, member["id"])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, user_id=USERS, rotate=st.booleans())
    def transfer(self, room_id: str, user_id: str, *, rotate: bool) -> None:
        self.step(f"transfer_host {room_id} {user_id}{' with a new token' if rotate else ''}")
        operation = self.store.rooms.transfer_host(room_id, user_id, rotate_token=rotate)
        room = self.model.rooms.get(room_id)
        if room and not room.user(user_id):
            self.expect(UserNotFoundError, operation)
            return

        def change(expected: ModelRoom) -> None:
            if former := expected.user(expected.value["hostId"]):
                former["isHost"] = False
            expected.make_host(cast("Json", expected.user(user_id)))
            if rotate:
                expected.forget_token()

        self.update(room_id, operation, change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def rotate(self, room_id: str) -> None:
        self.step(f"rotate_host_token {room_id}")
        returned: list[str] = []

        async def rotate() -> None:
            returned.append(await self.store.rooms.rotate_host_token(room_id))

        self.update(room_id, rotate(), ModelRoom.forget_token)
        for token in returned:
            self.check(room_id, self.run(self.store.rooms.get_room(room_id)))
            self.equal("the returned token", token, self.model.rooms[room_id].value["hostToken"])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, position=st.integers(0, 1000) | st.floats(0, 1000), extra=EXTRAS)
    def seek(self, room_id: str, position: float, extra: Json) -> None:
        self.step(f"update_video_state {room_id} {position} with {extra}")
        state = VideoState(current_time=position, last_update_time=self.model.now).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value["videoState"].update(json_of(state))

        self.update(room_id, self.store.rooms.update_video_state(room_id, state), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, number=st.integers(1, 2))
    def set_video(self, room_id: str, number: int) -> None:
        self.step(f"set_video_url {room_id} {number}")
        url, kind = f"https://video.example/{number}", ("youtube", "m3u8")[number - 1]
        reset = {"isPlaying": False, "currentTime": 0, "duration": 0, "lastUpdateTime": None}

        def change(expected: ModelRoom) -> None:
            expected.value["videoState"].update(reset)
            expected.value.update(videoUrl=url, videoType=kind)

        self.update(room_id, self.store.rooms.set_video_url(room_id, url, kind), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, number=st.integers(0, 3), extra=EXTRAS)
    def edit(self, room_id: str, number: int, extra: Json) -> None:
        self.step(f"edit_room {room_id} {number} with {extra}")

        def edited(before: Room) -> Room:
            return before.model_copy(update={"host_name": f"Name {number}", "host_token": None}).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value.pop("hostToken", None)
            expected.value.update({"hostName": f"Name {number}", **extra})

        self.update(room_id, self.store.rooms.edit_room(room_id, edited), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS, party=PARTIES, extra=EXTRAS)
    def replace(self, room_id: str, party: list[str], extra: Json) -> None:
        self.step(f"update_room {room_id} with {party} and {extra}")
        made = room(room_id, *party).with_extra(extra)

        def change(expected: ModelRoom) -> None:
            expected.value = {**json_of(made), "rev": expected.value["rev"]}

        self.update(room_id, cast("Awaitable[None]", self.store.rooms.update_room(room_id, made)), change)

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def refuse(self, room_id: str) -> None:
        self.step(f"refused writes of {room_id}")

        def fail(_before: Room) -> Room:
            raise ZeroDivisionError

        rooms, exists = self.store.rooms, room_id in self.model.rooms
        self.expect(LimitExceededError, rooms.add_user_to_room(room_id, user("u1", name="x" * 257)))
        self.expect(ZeroDivisionError if exists else RoomNotFoundError, rooms.edit_room(room_id, fail))
        self.expect(ValueError, rooms.update_room(room_id, room("another")))
        self.equal("events of refused writes", self.received(room_id), [])

    @precondition(a_room_exists)
    @rule(room_id=ROOMS)
    def delete(self, room_id: str) -> None:
        self.step(f"delete_room {room_id}")
        before = self.before(room_id)
        deleted = self.model.delete(room_id)
        self.equal("the result", self.run(self.store.rooms.delete_room(room_id)), deleted)
        self.check_events(room_id, before)
