"""A slow server and ten thousand callers: bounded memory and fairness."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from chaos.server import PATIENT, DurableServer
from proxy import proxy_to
from wnc_store import Room, Store, open_store
from wnc_store_contract.factories import message, room, user

CALLERS = 10_000
_MEASURED = 1000
"""Callers whose memory is measured, which makes them slow."""
_A_CALLER = 12_000
"""Maximum memory in bytes for one waiting caller with its task, message and command."""


async def say(store: Store, number: int) -> None:
    """Add a message to one of 500 chats."""
    await store.chat.add_message(message(number, f"C{number % 500}"))


async def test_ten_thousand_callers_of_a_slow_server(server: DurableServer) -> None:
    """All callers of a paused server get their replies afterwards, and use little memory while they wait."""
    async with proxy_to(server.port) as proxy, open_store(proxy.url, settings=PATIENT) as store:
        await store.ping()
        gc.collect()
        proxy.close_hole()
        tracemalloc.start()
        calls = [asyncio.ensure_future(say(store, number)) for number in range(_MEASURED)]
        for _ in range(5):
            await asyncio.sleep(0)
        waiting, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        calls += [asyncio.ensure_future(say(store, number)) for number in range(_MEASURED, CALLERS)]
        proxy.open_hole()
        await asyncio.gather(*calls)
        assert waiting < _MEASURED * _A_CALLER
        assert [one.id for one in await store.chat.get_messages("C7")] == [f"m{n}" for n in range(7, CALLERS, 500)]


async def test_calls_are_applied_in_order(server: DurableServer) -> None:
    """Equal operations are applied in the order of their calls."""
    async with open_store(server.url, settings=PATIENT) as store:
        await store.rooms.create_room(room("A"))
        order: list[int] = []

        async def join(number: int) -> Room:
            joined = await store.rooms.add_user_to_room("A", user(f"u{number}"))
            order.append(number)
            return joined

        rooms = await asyncio.gather(*(join(number) for number in range(300)))
        await asyncio.gather(*(store.chat.add_message(message(number, "A")) for number in range(300)))
        kept = await store.chat.get_messages("A")
    assert order == list(range(300))
    assert [found.users[-1].id for found in rooms] == [f"u{number}" for number in range(300)]
    assert [one.id for one in kept] == [f"m{number}" for number in range(280, 300)]
