"""Clauses about concurrent calls and clients: every operation is atomic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from wnc_store import Room, RoomExistsError, RoomNotFoundError, Store, VideoState
from wnc_store_contract.clause import ContractContext, clause
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.harness import Capability

CALLERS = 30


async def read(store: Store) -> Room:
    """Return the room of the clause."""
    stored = await store.rooms.get_room("A3X9K2")
    assert stored is not None
    return stored


def count(stored: Room) -> Room:
    """Return a room with its count incremented."""
    return stored.model_copy(update={"count": stored.model_extra["count"] + 1})


WRITES: tuple[Callable[[Store, int], Awaitable[object]], ...] = (
    lambda store, number: store.rooms.add_user_to_room("A3X9K2", user(f"u{number}")),
    lambda store, number: store.rooms.transfer_host("A3X9K2", ("guest", "next")[number % 2]),
    lambda store, _number: store.rooms.rotate_host_token("A3X9K2"),
    lambda store, number: store.rooms.update_video_state("A3X9K2", VideoState(current_time=number)),
    lambda store, number: store.rooms.set_video_url("A3X9K2", f"https://video.example/{number}"),
    lambda store, number: store.rooms.edit_room("A3X9K2", lambda current: current.replace(host_name=f"Name {number}")),
)


class ConcurrencyClauses:
    """Clauses with concurrent calls."""

    @clause()
    async def test_concurrent_joins_are_all_kept(self, context: ContractContext) -> None:
        """Users who join a room concurrently are all in it afterwards."""
        store = await context.open()
        await store.rooms.create_room(room())
        names = {f"u{number}" for number in range(CALLERS)}
        await asyncio.gather(*(store.rooms.add_user_to_room("A3X9K2", user(name)) for name in names))
        stored = await read(store)
        assert sorted(member.id for member in stored.users) == sorted({"host", *names})

    @clause(Capability.SHARED)
    async def test_concurrent_joins_of_two_clients_are_all_kept(self, context: ContractContext) -> None:
        """Users who join a room concurrently through two clients are all in it afterwards."""
        first, second = await context.open(), await context.open()
        await first.rooms.create_room(room())
        for number in range(10):
            await asyncio.gather(
                first.rooms.add_user_to_room("A3X9K2", user(f"first-{number}")),
                second.rooms.add_user_to_room("A3X9K2", user(f"second-{number}")),
            )
        assert len((await read(first)).users) == 21

    @clause(Capability.SHARED)
    async def test_concurrent_changes_of_two_clients_are_all_kept(self, context: ContractContext) -> None:
        """Concurrent changes by two clients, of any kind, never overwrite each other."""
        first, second = await context.open(), await context.open()
        for write in WRITES:
            await first.rooms.create_room(room("A3X9K2", "host", "guest", "next", count=0))
            for number in range(1, 6):
                await asyncio.gather(first.rooms.edit_room("A3X9K2", count), write(second, number))
            assert (await read(first)).model_extra == {"count": 5}
            await first.rooms.delete_room("A3X9K2")

    @clause()
    async def test_concurrent_edits_are_all_applied(self, context: ContractContext) -> None:
        """Concurrent edits of a room are applied one after another."""
        store = await context.open()
        await store.rooms.create_room(room(count=0))

        await asyncio.gather(*(store.rooms.edit_room("A3X9K2", count) for _ in range(CALLERS)))
        assert (await read(store)).model_extra == {"count": CALLERS}

    @clause()
    async def test_a_failing_edit_affects_only_its_caller(self, context: ContractContext) -> None:
        """If one of several concurrent edits raises, only its caller gets the error."""
        store = await context.open()
        await store.rooms.create_room(room())

        def fail(_room: Room) -> Room:
            raise LookupError

        calls = [store.rooms.add_user_to_room("A3X9K2", user(f"u{number}")) for number in range(10)]
        results = await asyncio.gather(*calls, store.rooms.edit_room("A3X9K2", fail), return_exceptions=True)
        assert [type(result) for result in results] == [Room] * 10 + [LookupError]
        assert len((await read(store)).users) == 11

    @clause()
    async def test_a_base_exception_affects_only_its_caller(self, context: ContractContext) -> None:
        """A BaseException raised by an edit reaches only its caller, and the room stays writable."""
        store = await context.open()
        await store.rooms.create_room(room())

        class AbortEdit(BaseException):
            pass

        def abort(_room: Room) -> Room:
            raise AbortEdit

        calls = [store.rooms.add_user_to_room("A3X9K2", user(f"u{number}")) for number in range(3)]
        results = await asyncio.gather(*calls, store.rooms.edit_room("A3X9K2", abort), return_exceptions=True)
        assert [type(result) for result in results] == [Room] * 3 + [AbortEdit]
        assert len((await store.rooms.add_user_to_room("A3X9K2", user("late"))).users) == 5

    @clause()
    async def test_a_cancelled_call_affects_no_other_call(self, context: ContractContext) -> None:
        """Cancelling one of several concurrent joins does not cancel or lose the others."""
        store = await context.open()
        await store.rooms.create_room(room())
        for steps in range(12):
            names = [f"u{steps}-{number}" for number in range(5)]
            joins = [asyncio.ensure_future(store.rooms.add_user_to_room("A3X9K2", user(name))) for name in names]
            for _ in range(steps):
                await asyncio.sleep(0)
            joins[0].cancel()
            await asyncio.gather(*joins, return_exceptions=True)
            assert set(names[1:]) <= {member.id for member in (await read(store)).users}

    @clause(Capability.SHARED)
    async def test_one_of_two_clients_creates_a_room(self, context: ContractContext) -> None:
        """If two clients create the same room concurrently, exactly one succeeds."""
        first, second = await context.open(), await context.open()
        for number in range(10):
            results = await asyncio.gather(
                first.rooms.create_room(room(f"r{number}", "first")),
                second.rooms.create_room(room(f"r{number}", "second")),
                return_exceptions=True,
            )
            stored = await first.rooms.get_room(f"r{number}")
            assert stored is not None
            assert [type(result) for result in results if result is not None] == [RoomExistsError]
            assert results[("first", "second").index(stored.host_id)] is None

    @clause(Capability.SHARED)
    async def test_one_of_two_clients_deletes_a_room(self, context: ContractContext) -> None:
        """If two clients delete the same room concurrently, exactly one gets True."""
        first, second = await context.open(), await context.open()
        for number in range(10):
            await first.rooms.create_room(room(f"r{number}"))
            results = await asyncio.gather(
                first.rooms.delete_room(f"r{number}"), second.rooms.delete_room(f"r{number}")
            )
            assert sorted(results) == [False, True]

    @clause(Capability.SHARED)
    async def test_a_concurrent_last_leave_and_join_are_consistent(self, context: ContractContext) -> None:
        """If a user joins while the last user leaves, the join is stored or raises RoomNotFoundError."""
        first, second = await context.open(), await context.open()
        for number in range(10):
            room_id = f"r{number}"
            await first.rooms.create_room(room(room_id))
            left, joined = await asyncio.gather(
                first.rooms.remove_user_from_room(room_id, "host"),
                second.rooms.add_user_to_room(room_id, user("guest")),
                return_exceptions=True,
            )
            assert not isinstance(left, BaseException)
            stored = await first.rooms.get_room(room_id)
            assert isinstance(joined, RoomNotFoundError if stored is None else Room)
            assert stored is None or [member.id for member in stored.users] == ["guest"]

    @clause(Capability.SHARED, Capability.CHAT)
    async def test_concurrent_messages_of_two_clients_are_all_kept(self, context: ContractContext) -> None:
        """Concurrent messages of two clients are all stored, and a message that both add is stored once."""
        clients = [await context.open(), await context.open()]
        await asyncio.gather(
            *(clients[number % 2].chat.add_message(message(number)) for number in range(18)),
            *(client.chat.add_message(message(99)) for client in clients),
        )
        stored = [entry.id for entry in await clients[0].chat.get_messages("A3X9K2")]
        assert sorted(stored) == sorted(["m99", *(f"m{number}" for number in range(18))])

    @clause()
    async def test_one_of_many_creates_succeeds(self, context: ContractContext) -> None:
        """If many callers create the same room concurrently, one succeeds and its room is the stored one."""
        store = await context.open()
        calls = [store.rooms.create_room(room("A3X9K2", f"u{number}")) for number in range(CALLERS)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        winners = [number for number, result in enumerate(results) if result is None]
        assert len(winners) == 1
        assert sum(isinstance(result, RoomExistsError) for result in results) == CALLERS - 1
        assert (await read(store)).host_id == f"u{winners[0]}"

    @clause()
    async def test_one_of_many_deletes_succeeds(self, context: ContractContext) -> None:
        """If many callers delete the same room concurrently, exactly one gets True."""
        store = await context.open()
        await store.rooms.create_room(room())
        results = await asyncio.gather(*(store.rooms.delete_room("A3X9K2") for _ in range(CALLERS)))
        assert sorted(results) == [False] * (CALLERS - 1) + [True]

    @clause()
    async def test_concurrent_leaves_delete_the_room(self, context: ContractContext) -> None:
        """If all users leave concurrently, the room is deleted."""
        store = await context.open()
        names = ["host", *(f"u{number}" for number in range(CALLERS))]
        await store.rooms.create_room(room("A3X9K2", *names))
        await asyncio.gather(*(store.rooms.remove_user_from_room("A3X9K2", name) for name in names))
        assert await store.rooms.get_room("A3X9K2") is None

    @clause()
    async def test_the_host_is_always_a_user_of_the_room(self, context: ContractContext) -> None:
        """After concurrent joins and leaves of hosts, host_id names a user of the room."""
        store = await context.open()
        names = [f"u{number}" for number in range(10)]
        await store.rooms.create_room(room("A3X9K2", *names))
        await asyncio.gather(
            *(store.rooms.remove_user_from_room("A3X9K2", name) for name in names[:-1]),
            *(store.rooms.add_user_to_room("A3X9K2", user(f"late-{name}")) for name in names),
        )
        stored = await read(store)
        assert stored.user(stored.host_id) is not None
        assert len(stored.users) == 11

    @clause()
    async def test_a_late_join_does_not_recreate_the_room(self, context: ContractContext) -> None:
        """A join concurrent with a deletion never recreates the room."""
        store = await context.open()
        for _ in range(10):
            await store.rooms.create_room(room())
            *joins, deleted = await asyncio.gather(
                *(store.rooms.add_user_to_room("A3X9K2", user(f"u{number}")) for number in range(5)),
                store.rooms.delete_room("A3X9K2"),
                return_exceptions=True,
            )
            assert deleted is True
            assert all(isinstance(result, (Room, RoomNotFoundError)) for result in joins)
            assert await store.rooms.get_room("A3X9K2") is None

    @clause(Capability.CHAT)
    async def test_concurrent_messages_are_all_kept(self, context: ContractContext) -> None:
        """Concurrent messages are all stored, each once, up to the last 20."""
        store = await context.open()
        await asyncio.gather(*(store.chat.add_message(message(number)) for number in range(15)))
        stored = {entry.id for entry in await store.chat.get_messages("A3X9K2")}
        assert stored == {f"m{number}" for number in range(15)}
        await asyncio.gather(*(store.chat.add_message(message(number)) for number in range(15, 60)))
        last = [entry.id for entry in await store.chat.get_messages("A3X9K2")]
        assert len(last) == len(set(last)) == 20
        assert not stored & set(last)

    @clause(Capability.CHAT)
    async def test_a_message_added_concurrently_is_kept_once(self, context: ContractContext) -> None:
        """A message that many callers add concurrently is stored once."""
        store = await context.open()
        await asyncio.gather(*(store.chat.add_message(message(1)) for _ in range(CALLERS)))
        assert len(await store.chat.get_messages("A3X9K2")) == 1
