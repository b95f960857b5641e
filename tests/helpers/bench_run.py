"""Runs of the benchmark command, and checks that its tests share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from processes import run_python
from wnc_store import StoreSettings, open_store
from wnc_store_bench import Result
from wnc_store_bench.contenders import Contender
from wnc_store_bench.load import Load
from wnc_store_bench.records import room_ids, seed, user_id
from wnc_store_bench.report import tables
from wnc_store_bench.server import plain_client, temporary_keys

FOREIGN = {
    "wnc-bench-0123456789ab:room:A": "of another run",
    "room:R000000": "somebody's",
    "active-rooms": "another index",
}
_SMALL = Load(callers=4, rooms=6)
_ENOUGH = 600
"""Number of operations after which each of six rooms has been chosen more than 20 times."""


@dataclass(frozen=True)
class Smoke:
    """The result of a quick run, and the keys that it left on the server."""

    run: Result
    printed: str
    chart: bytes
    left: dict[str, str]


def smoke(url: str, folder: Path, *arguments: str) -> Smoke:
    """Run the command quickly on a database that contains other keys."""

    async def fill_server() -> None:
        async with plain_client(url) as client:
            await client.flushdb()
            await client.mset(FOREIGN)

    async def all_keys() -> dict[str, str]:
        async with plain_client(url, decode_responses=True) as client:
            found = {key: await client.get(key) async for key in client.scan_iter()}
            await client.flushdb()
        return found

    asyncio.run(fill_server())
    files = ["--output", str(folder / "run.json"), "--chart", str(folder / "chart.png")]
    # in its own process, where warnings of other libraries do not fail the test
    printed = run_python("-c", "from wnc_store.cli import main; main()", "bench", url, "--quick", *files, *arguments)
    run = Result.model_validate_json((folder / "run.json").read_text())
    return Smoke(run, printed, (folder / "chart.png").read_bytes(), asyncio.run(all_keys()))


def check_left_behind(made: Smoke) -> None:
    """Check that a run printed all of its tables, drew its chart and removed its own keys."""
    assert all(table.title in made.printed for table in tables(made.run))
    assert made.chart.startswith(b"\x89PNG")
    assert made.left == FOREIGN


async def check_contender(contender: Contender, url: str) -> None:
    """Check that after the load a room has its five users in join order and a chat has its newest 20 messages."""
    async with temporary_keys(url, 4) as target:
        await seed(target, room_ids(_SMALL.rooms))
        async with contender.open(target) as session:
            for operation in contender.operations:
                done = 0
                while done < _ENOUGH:  # repeats on a slow machine
                    sample = await session.load(operation, _SMALL, 0.2)
                    assert sample.errors == {}
                    done += sample.operations
        settings = StoreSettings(key_prefix=target.prefix)
        async with plain_client(url) as client, open_store(url, settings=settings) as store:
            for room_id in room_ids(_SMALL.rooms):
                room = await store.rooms.get_room(room_id)
                assert room is not None
                assert sorted(user.id for user in room.users) == [user_id(number) for number in range(5)]
                messages = await store.chat.get_messages(room_id)
                assert len({message.id for message in messages}) == 20
                assert await client.llen(f"{target.prefix}chat:{room_id}") == 20
                assert not any(message.id.startswith("kept") for message in messages)
                assert room.users[0].id == user_id(0)  # the user who never joined again is first
                assert any(user.name == user.id for user in room.users[1:])
