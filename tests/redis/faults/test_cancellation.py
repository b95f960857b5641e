"""Callers who give up at random moments: nobody gets another's reply, nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from chaos.server import DurableServer, admin, quiet
from proxy import proxy_to
from waiting import until
from wnc_store import OutcomeUnknownError, Room, open_store
from wnc_store_contract.samples import message, room, user

_ROOMS = 20


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def _impatient(call: asyncio.Future[Room | None], seconds: float, *, by_timeout: bool) -> Room | None:
    """Wait for a call, but not longer than that; None if it was given up."""
    try:
        if by_timeout:
            return await asyncio.wait_for(call, seconds)
        asyncio.get_running_loop().call_later(seconds, call.cancel)
        return await call
    except (asyncio.CancelledError, TimeoutError):
        return None


async def test_callers_who_give_up_harm_nobody(server: DurableServer, *, soak: bool) -> None:
    """Of thousands of callers who give up at random moments, each of the others gets the reply to the own call."""
    chance = random.Random(1)
    joined: list[tuple[str, str]] = []
    answered = 0

    async with proxy_to(server.port) as proxy, open_store(proxy.url) as store:
        for number in range(_ROOMS):
            await store.rooms.create_room(room(f"R{number}", f"host-{number}", video_url=f"https://e.org/{number}"))

        async def caller(number: int) -> None:
            nonlocal answered
            one = number % _ROOMS
            joins = number % 3 == 0
            await asyncio.sleep(chance.random() * 0.05)
            work = (
                store.rooms.add_user_to_room(f"R{one}", user(f"u{number}"))
                if joins
                else store.rooms.get_room(f"R{one}")
            )
            call = asyncio.ensure_future(work)
            if chance.random() < 0.5:
                found = await _impatient(call, chance.random() * 0.05, by_timeout=number % 2 == 0)
            else:
                found = await call
            if found is None:
                return
            answered += 1
            assert (found.id, found.video_url) == (f"R{one}", f"https://e.org/{one}")
            if joins:
                assert found.user(f"u{number}") is not None
                joined.append((f"R{one}", f"u{number}"))

        rounds = 30 if soak else 3
        for begin in range(rounds):
            await asyncio.gather(*(caller(begin * 1000 + number) for number in range(1000)))
        rooms = {f"R{number}": await store.rooms.get_room(f"R{number}") for number in range(_ROOMS)}
    assert answered < rounds * 1000
    assert [who for who in joined if (found := rooms[who[0]]) is None or found.user(who[1]) is None] == []


async def test_a_cancelled_joiner_takes_nobody_down(server: DurableServer) -> None:
    """Of many who join one room at once, some give up; all others are in."""
    async with open_store(server.url) as store:
        await store.rooms.create_room(room("A"))
        calls = [asyncio.ensure_future(store.rooms.add_user_to_room("A", user(f"u{n}"))) for n in range(300)]
        for turn in range(3):
            await asyncio.sleep(0)
            for call in calls[turn::10]:
                call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        stored = await store.rooms.get_room("A")
    assert stored is not None
    kept = {one.id for one in stored.users}
    stayed = {f"u{n}" for n, one in enumerate(ended) if isinstance(one, Room)}
    assert stayed <= kept
    assert {type(one) for one in ended} == {Room, asyncio.CancelledError}
    assert len(stayed) >= 200


async def test_giving_up_leaks_no_connection(server: DurableServer) -> None:
    """After thousands of calls that were given up, the server has no client left and the process no open file more."""
    async with admin(server.url) as client, proxy_to(server.port) as proxy:
        await client.ping()
        files = _open_files()
        async with open_store(proxy.url) as store:
            for turn in range(20):
                calls = [asyncio.ensure_future(store.chat.add_message(message(n, f"C{turn}"))) for n in range(100)]
                await asyncio.sleep(0.001 * (turn % 4))
                if turn % 5 == 0:
                    proxy.cut_all("reset")
                for call in calls:
                    call.cancel()
                ended = await asyncio.gather(*calls, return_exceptions=True)
                kinds = {type(one) for one in ended}
                assert kinds <= {type(None), asyncio.CancelledError, OutcomeUnknownError}
            assert len(await client.client_list()) <= 34
        await until(lambda: proxy.open_connections == 0)
        await quiet(client)
        await until(lambda: _open_files() <= files)
