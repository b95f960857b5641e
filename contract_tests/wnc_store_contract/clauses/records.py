"""Clauses about records: revisions, extra fields, text, numbers and immutability."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from wnc_store import Store, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import MAX_DEPTH, message, nested, node_room, room, user
from wnc_store_contract.harness import Capability

TEXTS = (
    "",
    " a  ",
    "a\x00b",
    "\t\r\n",
    "e\u0301 \u00e9 \ufb01",
    "\ufeff\u2028",
    "\U0001f37f",
    "half \ud83d",
    "'\"\\%_{}[]<>",
)
NAME = "EXTRA1"


async def assert_keeps_extra_fields(context: ContractContext, write: Callable[[Store], Awaitable[object]]) -> None:
    """Assert that a write keeps the extra fields of a room, its users and its video state."""
    store = await context.open()
    made = node_room("room_with_extra_fields")
    state = made.video_state.model_copy(update={"playbackRate": 1.25})
    await store.rooms.create_room(made.model_copy(update={"video_state": state, "users": (*made.users, user("guest"))}))
    await write(store)
    after = await store.rooms.get_room(NAME)
    assert after is not None
    assert after.model_extra == made.model_extra
    assert after.video_state.model_extra == {"playbackRate": 1.25}
    old_host = after.user("h1")
    assert old_host is not None
    assert old_host.model_extra == {"avatar": None, "tags": []}


async def assert_increments_revision(context: ContractContext, write: Callable[[Store], Awaitable[object]]) -> None:
    """Assert that a write increments the room's revision."""
    store = await context.open()
    await store.rooms.create_room(room("A3X9K2", "host", "guest"))
    before = await store.rooms.get_room("A3X9K2")
    await write(store)
    after = await store.rooms.get_room("A3X9K2")
    assert before is not None
    assert after is not None
    assert after.rev == before.rev + 1


class RecordClauses:
    """Clauses about stored records."""

    @clause()
    async def test_create_room_starts_the_revision(self, context: ContractContext) -> None:
        """The first commit of a room sets its revision to 1."""
        store = await context.open()
        await store.rooms.create_room(room())
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.rev == 1

    @clause()
    async def test_create_room_increments_the_given_revision(self, context: ContractContext) -> None:
        """create_room increments the revision of the given room, and later writes count on, beyond 32 bits."""
        store = await context.open()
        for number, rev in enumerate((41, 2**31 - 2, 2**32 - 2, 2**53 - 3)):
            await store.rooms.create_room(room(f"R{number}", rev=rev))
            stored = await store.rooms.get_room(f"R{number}")
            assert stored is not None
            assert stored.rev == rev + 1
            assert (await store.rooms.add_user_to_room(f"R{number}", user("guest"))).rev == rev + 2

    @clause()
    async def test_equal_writes_increment_the_revision(self, context: ContractContext) -> None:
        """A write increments the revision even if it changes nothing else."""
        store = await context.open()
        made = room("A3X9K2", "host", "guest", video_url="https://video.example/1", video_type="youtube")
        await store.rooms.create_room(made)
        writes: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: store.rooms.edit_room("A3X9K2", lambda current: current),
            lambda: store.rooms.update_room("A3X9K2", made),
            lambda: store.rooms.update_video_state("A3X9K2", made.video_state),
            lambda: store.rooms.add_user_to_room("A3X9K2", made.users[-1]),
            lambda: store.rooms.transfer_host("A3X9K2", "host"),
            lambda: store.rooms.set_video_url("A3X9K2", "https://video.example/1"),
        )
        for rev, write in enumerate(writes, start=2):
            await write()
            stored = await store.rooms.get_room("A3X9K2")
            assert stored is not None
            assert stored.rev == rev

    @clause()
    async def test_update_room_increments_the_revision(self, context: ContractContext) -> None:
        """update_room increments the revision and ignores the revision of the new room."""
        await assert_increments_revision(context, lambda store: store.rooms.update_room("A3X9K2", room(rev=0)))

    @clause()
    async def test_edit_room_increments_the_revision(self, context: ContractContext) -> None:
        """edit_room increments the revision and ignores the revision that the change returns."""
        await assert_increments_revision(
            context,
            lambda store: store.rooms.edit_room("A3X9K2", lambda current: current.model_copy(update={"rev": 70})),
        )

    @clause()
    async def test_add_user_to_room_increments_the_revision(self, context: ContractContext) -> None:
        """add_user_to_room increments the revision."""
        await assert_increments_revision(context, lambda store: store.rooms.add_user_to_room("A3X9K2", user("new")))

    @clause()
    async def test_remove_user_from_room_increments_the_revision(self, context: ContractContext) -> None:
        """remove_user_from_room increments the revision."""
        await assert_increments_revision(context, lambda store: store.rooms.remove_user_from_room("A3X9K2", "guest"))

    @clause()
    async def test_transfer_host_increments_the_revision(self, context: ContractContext) -> None:
        """transfer_host increments the revision."""
        await assert_increments_revision(context, lambda store: store.rooms.transfer_host("A3X9K2", "guest"))

    @clause()
    async def test_rotate_host_token_increments_the_revision(self, context: ContractContext) -> None:
        """rotate_host_token increments the revision."""
        await assert_increments_revision(context, lambda store: store.rooms.rotate_host_token("A3X9K2"))

    @clause()
    async def test_update_video_state_increments_the_revision(self, context: ContractContext) -> None:
        """update_video_state increments the revision."""
        await assert_increments_revision(context, lambda store: store.rooms.update_video_state("A3X9K2", VideoState()))

    @clause()
    async def test_set_video_url_increments_the_revision(self, context: ContractContext) -> None:
        """set_video_url increments the revision."""
        await assert_increments_revision(
            context, lambda store: store.rooms.set_video_url("A3X9K2", "https://video.example/1")
        )

    @clause()
    async def test_create_room_keeps_extra_fields(self, context: ContractContext) -> None:
        """create_room stores fields that the models do not declare."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.get_room(NAME))

    @clause()
    async def test_update_room_keeps_extra_fields(self, context: ContractContext) -> None:
        """update_room stores the extra fields of the new room."""

        async def write_back(store: Store) -> None:
            stored = await store.rooms.get_room(NAME)
            assert stored is not None
            await store.rooms.update_room(NAME, stored)

        await assert_keeps_extra_fields(context, write_back)

    @clause()
    async def test_edit_room_keeps_extra_fields(self, context: ContractContext) -> None:
        """edit_room keeps the extra fields of the room that the change returns."""
        await assert_keeps_extra_fields(
            context,
            lambda store: store.rooms.edit_room(NAME, lambda current: current.replace(host_name="N")),
        )

    @clause()
    async def test_a_join_keeps_extra_fields(self, context: ContractContext) -> None:
        """add_user_to_room keeps extra fields."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.add_user_to_room(NAME, user("new")))

    @clause()
    async def test_a_rejoin_keeps_extra_fields(self, context: ContractContext) -> None:
        """A rejoin keeps the user's extra fields that the new record does not set."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.add_user_to_room(NAME, user("h1")))

    @clause()
    async def test_a_leave_keeps_extra_fields(self, context: ContractContext) -> None:
        """remove_user_from_room keeps the extra fields of the room and the other users."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.remove_user_from_room(NAME, "guest"))

    @clause()
    async def test_a_transfer_keeps_extra_fields(self, context: ContractContext) -> None:
        """transfer_host keeps extra fields."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.transfer_host(NAME, "guest"))

    @clause()
    async def test_a_video_state_keeps_extra_fields(self, context: ContractContext) -> None:
        """update_video_state keeps extra fields, including those of the state."""
        await assert_keeps_extra_fields(context, lambda store: store.rooms.update_video_state(NAME, VideoState()))

    @clause()
    async def test_a_new_video_keeps_extra_fields(self, context: ContractContext) -> None:
        """set_video_url keeps extra fields, including those of the state."""
        await assert_keeps_extra_fields(
            context, lambda store: store.rooms.set_video_url(NAME, "https://video.example/1")
        )

    @clause()
    async def test_extra_fields_never_set_attributes(self, context: ContractContext) -> None:
        """An extra field that is named like a Python attribute never sets that attribute."""
        store = await context.open()
        odd = {"is_host": True, "current_time": "junk", "host_token": "x"}
        state = VideoState(last_update_time=1).with_extra(odd)
        made = room(users=(user("host", is_host=True), user("guest").with_extra(odd)), video_state=state)
        await store.rooms.create_room(made.with_extra(odd))
        await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        await store.rooms.update_video_state("A3X9K2", VideoState(current_time=77, last_update_time=2))
        after = await store.rooms.edit_room("A3X9K2", lambda current: current.replace(video_url="https://v"))
        assert (after.users[1].is_host, after.video_state.current_time) == (False, 77)
        assert after.host_token == "token-of-the-host"
        assert "host_token" not in after.to_public().to_json()

    @clause()
    async def test_written_records_are_copied(self, context: ContractContext) -> None:
        """Changing a record after it was written does not change the stored record."""
        store = await context.open()
        settings = {"isChatLocked": True, "words": ["a"]}
        written = room(settings=settings)
        await store.rooms.create_room(written)
        settings["words"].append("b")  # type: ignore[union-attr]
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.model_extra == {"settings": {"isChatLocked": True, "words": ["a"]}}

    @clause()
    async def test_returned_records_are_copied(self, context: ContractContext) -> None:
        """Changing a returned record raises an error or does not change the stored record."""
        store = await context.open()
        await store.rooms.create_room(room(settings={"words": ["a"]}))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        extra = stored.model_extra
        changes: list[Callable[[], object]] = [
            lambda: extra.update(x=1),
            lambda: extra["settings"].update(x=1),
            lambda: extra["settings"]["words"].append("b"),
        ]
        for change in changes:
            try:
                change()
            except (TypeError, AttributeError):
                continue
        again = await store.rooms.get_room("A3X9K2")
        assert again is not None
        assert again.model_extra == {"settings": {"words": ["a"]}}

    @clause()
    async def test_text_is_stored_unchanged(self, context: ContractContext) -> None:
        """Names and extra fields are read back character by character."""
        store = await context.open()
        for text in TEXTS:
            await store.rooms.create_room(room(host_name=text, users=(user("host", name=text),), note={"text": [text]}))
            stored = await store.rooms.add_user_to_room("A3X9K2", user("guest", name=text))
            assert stored == await store.rooms.get_room("A3X9K2")
            assert [stored.host_name, *(member.name for member in stored.users)] == [text] * 3
            assert stored.model_extra == {"note": {"text": [text]}}
            await store.rooms.delete_room("A3X9K2")

    @clause(Capability.CHAT)
    async def test_message_text_is_stored_unchanged(self, context: ContractContext) -> None:
        """The text and the user name of a message are read back character by character."""
        store = await context.open()
        for number, text in enumerate(TEXTS):
            await store.chat.add_message(message(number, message=text, user_name=text))
        messages = await store.chat.get_messages("A3X9K2")
        assert [(entry.message, entry.user_name) for entry in messages] == [(text, text) for text in TEXTS]

    @clause()
    async def test_deep_values_of_a_room_are_limited(self, context: ContractContext) -> None:
        """Extra fields may be nested 64 levels deep. A deeper one raises ValueError, and nothing changes."""
        store = await context.open()
        for number, value in enumerate(nested(MAX_DEPTH)):
            extra = {"deep": value}
            await store.rooms.create_room(room(f"R{number}").with_extra(extra))
            await store.rooms.add_user_to_room(f"R{number}", user("guest").with_extra(extra))
            state = VideoState(current_time=1).with_extra(extra)
            after = await store.rooms.update_video_state(f"R{number}", state)
            assert await store.rooms.get_room(f"R{number}") == after
            assert (after.model_extra, after.users[-1].model_extra, after.video_state.model_extra) == (extra,) * 3
        await store.rooms.create_room(room())
        before = await store.rooms.get_room("A3X9K2")
        for value in nested(MAX_DEPTH + 1):
            extra = {"deep": value}
            deep = user("host").with_extra(extra)
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda extra=extra: store.rooms.create_room(room("B").with_extra(extra)),
                lambda extra=extra: store.rooms.update_room("A3X9K2", room().with_extra(extra)),
                lambda extra=extra: store.rooms.edit_room("A3X9K2", lambda stored: stored.with_extra(extra)),
                lambda deep=deep: store.rooms.edit_room("A3X9K2", lambda _stored: room(users=(deep,))),
                lambda deep=deep: store.rooms.add_user_to_room("A3X9K2", deep),
                lambda extra=extra: store.rooms.update_video_state("A3X9K2", VideoState().with_extra(extra)),
            ]
            for call in calls:
                with pytest.raises(ValueError, match="64 levels deep"):
                    await call()
        assert await store.rooms.get_room("A3X9K2") == before
        assert await store.rooms.room_exists("B") is False

    @clause(Capability.CHAT)
    async def test_deep_values_of_a_message_are_limited(self, context: ContractContext) -> None:
        """Extra fields of a message may be nested 64 levels deep. A deeper one raises ValueError and is not stored."""
        store = await context.open()
        sent = [message(number, deep=value) for number, value in enumerate(nested(MAX_DEPTH))]
        for entry in sent:
            await store.chat.add_message(entry)
        for value in nested(MAX_DEPTH + 1):
            with pytest.raises(ValueError, match="64 levels deep"):
                await store.chat.add_message(message(9, deep=value))
        assert await store.chat.get_messages("A3X9K2") == sent

    @clause()
    async def test_integers_are_stored_unchanged(self, context: ContractContext) -> None:
        """Integers in extra fields are read back exactly, even if a double cannot represent them."""
        store = await context.open()
        counts = {"small": 0, "large": [2**53 + 1, -(2**53) - 1, 2**63]}
        await store.rooms.create_room(room(counts=counts))
        await store.rooms.add_user_to_room("A3X9K2", user("guest"))
        stored = await store.rooms.get_room("A3X9K2")
        assert stored is not None
        assert stored.model_extra == {"counts": counts}
