"""Joins lost to the Node app's writes, for docs/reliability.md: `.venv/bin/python scripts/measure_node.py`."""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass
from math import inf
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/helpers"))

from node import NodeApp, node_app
from redis_server import redis_server
from wnc_store import Store, open_store
from wnc_store_contract.factories import room, user

JOINS = 10_000
"""Joins by each side, at every rate."""

JOINS_OF_A_ROOM = 20
"""Joins by each side in one room."""

_JOINED = "2026-01-01T00:00:00.000Z"


@dataclass
class Lost:
    """Numbers of acknowledged joins that are missing from the room."""

    of_python: int = 0
    of_node: int = 0


class Node:
    """The Node app's join, one at a time."""

    def __init__(self, app: NodeApp) -> None:
        self._app = app
        self._lock = asyncio.Lock()

    async def join(self, room_id: str, user_id: str) -> None:
        """Read the room, add the user and write the room."""
        joins = user(user_id)
        async with self._lock:
            await self._app(
                "addUser", room_id, {"id": joins.id, "name": joins.name, "isHost": False, "joinedAt": _JOINED}
            )


async def fill(store: Store, node: Node, name: str, rate: float) -> Lost:
    """Join a room from both sides at random moments at this rate per second; return the missing joins."""
    await store.rooms.create_room(room(name))

    async def pause() -> None:
        if rate < inf:
            await asyncio.sleep(random.expovariate(rate))

    async def python() -> None:
        for number in range(JOINS_OF_A_ROOM):
            await pause()
            await store.rooms.add_user_to_room(name, user(f"python{number}"))

    async def node_app() -> None:
        for number in range(JOINS_OF_A_ROOM):
            await pause()
            await node.join(name, f"node{number}")

    await asyncio.gather(python(), node_app())
    stored = await store.rooms.get_room(name)
    ids = [member.id for member in stored.users] if stored else []
    of_python, of_node = (sum(user_id.startswith(side) for user_id in ids) for side in ("python", "node"))
    return Lost(JOINS_OF_A_ROOM - of_python, JOINS_OF_A_ROOM - of_node)


async def measure(store: Store, node: Node, rate: float, at_once: int) -> Lost:
    """Fill rooms, `at_once` of them concurrently."""
    total = Lost()
    for begin in range(0, JOINS // JOINS_OF_A_ROOM, at_once):
        rooms = (f"{rate}-{number}" for number in range(begin, begin + at_once))
        for lost in await asyncio.gather(*(fill(store, node, name, rate) for name in rooms)):
            total.of_python += lost.of_python
            total.of_node += lost.of_node
    return total


async def main() -> None:
    """Print a table row for each rate."""
    print(f"| joins per second into one room, by each side | lost of Python's {JOINS:,} | lost of Node's {JOINS:,} |")
    print("|---|---|---|")
    with redis_server() as server:
        async with open_store(server.url) as store, node_app(server.url) as app:
            node = Node(app)
            for rate, at_once in ((1, 500), (10, 50), (100, 5), (inf, 1)):
                lost = await measure(store, node, rate, at_once)
                shown = "without a pause" if rate == inf else str(rate)
                print(f"| {shown} | {lost.of_python:,} | {lost.of_node:,} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
