"""Callers that are cancelled at random moments, and a check of the other callers' results."""

from __future__ import annotations

import asyncio
import random

from chaos.server import durable_server
from proxy import proxy_to
from wnc_store import Room, open_store
from wnc_store_contract.factories import room, user

_ROOMS = 20
_CALLERS = 1000
_LONGEST = 60
"""Maximum number of loop iterations before a call begins, and before it is cancelled."""


async def impatient_callers(seed: int) -> list[str]:
    """Cancel every other caller at a random moment, and return the wrong results of the remaining callers."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    problems: list[str] = []
    joined: list[tuple[str, str]] = []
    given_up = 0

    with durable_server() as server:
        async with proxy_to(server.port) as proxy, open_store(proxy.url) as store:
            for number in range(_ROOMS):
                await store.rooms.create_room(room(f"R{number}", f"host-{number}", video_url=f"https://e.org/{number}"))

            async def caller(number: int) -> None:
                nonlocal given_up
                room_id, name = f"R{number % _ROOMS}", f"u{number}"
                joins = number % 3 == 0
                await _iterations(chance.randrange(_LONGEST))
                work = store.rooms.add_user_to_room(room_id, user(name)) if joins else store.rooms.get_room(room_id)
                call: asyncio.Future[Room | None] = asyncio.ensure_future(work)
                if number % 2:
                    await _iterations(chance.randrange(_LONGEST))
                    call.cancel()
                try:
                    found = await call
                except asyncio.CancelledError:
                    given_up += 1
                    return
                if found is None or (found.id, found.video_url) != (room_id, f"https://e.org/{number % _ROOMS}"):
                    problems.append(f"{name} got {found!r}")
                elif joins:
                    joined.append((room_id, name))
                    if found.user(name) is None:
                        problems.append(f"{name} is missing in the returned room")

            await asyncio.gather(*map(caller, range(_CALLERS)))
            rooms = {f"R{number}": await store.rooms.get_room(f"R{number}") for number in range(_ROOMS)}
    problems += [
        f"{name} joined but is missing" for key, name in joined if (rooms[key] or room(key)).user(name) is None
    ]
    return problems if given_up else ["nobody gave up"]


async def _iterations(count: int) -> None:
    """Run this number of iterations of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)
