"""Counts of the commands that a server has processed, and of the tasks that a client starts."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from wnc_store import Store
from wnc_store_contract.factories import message, room, user


class Counter:
    """Counts the commands and reads of a server, except those of this client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._before: dict[str, int] = {}

    async def start(self) -> None:
        """Start counting."""
        self._before = await self._now()

    async def since(self) -> dict[str, int]:
        """Return the counts since the start that are not zero: commands by name, and `reads` of sockets."""
        now = await self._now()
        counted = {name: count - self._before.get(name, 0) for name, count in now.items()}
        counted["reads"] -= 2  # the two INFO commands of this client
        return {name: count for name, count in counted.items() if count and name not in {"info", "config|resetstat"}}

    async def _now(self) -> dict[str, int]:
        stats = await self._client.info("commandstats")
        reads = (await self._client.info("stats"))["total_reads_processed"]
        return {"reads": reads, **{name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}}


async def tasks_of_calls(store: Store) -> Sequence[str]:
    """Return the names of the coroutines of routers for which calls on an existing room start tasks."""
    await store.rooms.create_room(room("direct"))
    with _tasks_of_routers() as started:
        await store.rooms.get_room("direct")
        await store.rooms.add_user_to_room("direct", user("guest"))
        await store.chat.add_message(message(1, "direct"))
    await store.rooms.delete_room("direct")
    return started


@contextmanager
def _tasks_of_routers() -> Generator[list[str]]:
    names: list[str] = []
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()

    def start(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if "Router." in coroutine.__qualname__:
            names.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(start)
    try:
        yield names
    finally:
        loop.set_task_factory(factory)
