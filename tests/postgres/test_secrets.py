"""Host tokens, texts of messages and passwords appear in no error and in no line of the server's log."""

from __future__ import annotations

import asyncio

import pytest

from local_variables import shown_with_traceback
from postgres_database import PATIENT, Connection
from postgres_server import PostgresServer
from waiting import wait_until
from wnc_store import ChatMessage, CorruptRecordError, Store, StoreUnavailableError, open_store
from wnc_store_contract.factories import room

SECRET = "SECRET-b2c4"


def message() -> ChatMessage:
    """Return a message with a secret text."""
    return ChatMessage(id="m1", room_id="A", user_id="u", user_name="u", message=SECRET)


async def fails(call: object, error: type[Exception]) -> str:
    """Return what tools show of the error of a call."""
    assert asyncio.iscoroutine(call)
    with pytest.raises(error) as caught:
        await call
    return shown_with_traceback(caught.value)


async def test_an_error_of_a_statement(url: str, plain: Connection, postgres_server: PostgresServer) -> None:
    """An error that the server raises shows no argument: neither in its frames nor in the server's log."""
    settings = PATIENT.model_copy(update={"publish_changes": True})
    async with open_store(f"{url}?log_parameter_max_length_on_error=-1", settings=settings) as store:
        secret_room = room("A").model_copy(update={"host_token": SECRET})
        await store.rooms.create_room(secret_room)
        await store.chat.add_message(message())
        async with plain.transaction():
            await plain.execute("LOCK TABLE wnc_store_rooms, wnc_store_chats")
            calls = asyncio.gather(
                fails(store.rooms.update_room("A", secret_room), StoreUnavailableError),
                fails(store.chat.add_message(message()), StoreUnavailableError),
            )

            async def cancel_waiting() -> bool:
                await plain.execute("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted")
                return calls.done()

            await wait_until(cancel_waiting)
            shown = await calls
    assert SECRET not in str(shown)
    assert "canceling statement" in postgres_server.log
    assert SECRET not in postgres_server.log


async def test_an_unreadable_room(store: Store, plain: Connection) -> None:
    """The error of an unreadable room shows nothing of its bytes, and the next reads are not affected."""
    await plain.execute(
        "INSERT INTO wnc_store_rooms (prefix, room_id, data) VALUES ('', 'A', $1)", f'{{"token": "{SECRET}"}}'.encode()
    )
    assert SECRET not in await fails(store.rooms.get_room("A"), CorruptRecordError)
    assert await store.rooms.get_rooms(["A"]) == [None]


async def test_statistics_of_sessions(store: Store, plain: Connection) -> None:
    """pg_stat_activity shows the statements of a store without their arguments."""
    await store.rooms.create_room(room("A").model_copy(update={"host_token": SECRET}))
    await store.chat.add_message(message())
    queries = await plain.fetch("SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert SECRET not in str(queries)
    assert "wnc_store" in str(queries)
