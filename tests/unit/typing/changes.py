"""Never executed: type checkers prove here that `replace` accepts declared fields with their types only.

An ignore comment that suppresses no error is an error itself, in pyright and in mypy.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=error

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

if TYPE_CHECKING:
    from wnc_store import ChatMessage, PublicRoom, Room, User, VideoState

    def _declared_fields_are_accepted(room: Room, user: User, state: VideoState, message: ChatMessage) -> None:
        assert_type(room.replace(host_name="Ada", host_token=None, users=(user,), video_state=state, rev=2), Room)
        assert_type(user.replace(name="Grace", is_host=True), User)
        assert_type(state.replace(current_time=5, duration=1.5), VideoState)
        assert_type(message.replace(message="changed"), ChatMessage)
        assert_type(room.to_public(include={"settings"}), PublicRoom)
        assert_type(room.to_public(include=room.model_extra.keys()), PublicRoom)

    def _other_names_are_errors(room: Room, user: User, state: VideoState, message: ChatMessage) -> None:
        room.replace(hostname="Ada")  # type: ignore[call-arg]
        room.replace(hostName="Ada")  # type: ignore[call-arg]
        user.replace(settings={})  # type: ignore[call-arg]
        state.replace(playing=True)  # type: ignore[call-arg]
        message.replace(text="changed")  # type: ignore[call-arg]

    def _other_types_are_errors(room: Room, user: User, state: VideoState, message: ChatMessage) -> None:
        room.replace(host_name=5)  # type: ignore[arg-type]
        room.replace(users=("Ada",))  # type: ignore[arg-type]
        user.replace(is_host="yes")  # type: ignore[arg-type]
        state.replace(current_time="0:05")  # type: ignore[arg-type]
        message.replace(message=None)  # type: ignore[arg-type]
        room.to_public(include="settings")  # type: ignore[arg-type]
