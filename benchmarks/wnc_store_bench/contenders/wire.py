"""The data of the contenders that use the Node app's keys and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from wnc_store import to_wire
from wnc_store_bench.records import KEPT, message, room
from wnc_store_bench.server import Target, plain_client

DAY = 86_400
"""The TTL of rooms and chats in seconds."""

_PAGE = 200


async def seed(target: Target, room_ids: Sequence[str], users: int) -> None:
    """See `Seeder`."""
    async with plain_client(target.url) as client:
        for start in range(0, len(room_ids), _PAGE):
            page = client.pipeline(transaction=False)
            for room_id in room_ids[start : start + _PAGE]:
                page.set(f"{target.prefix}room:{room_id}", to_wire(room(room_id, users)), ex=DAY)
                page.sadd(f"{target.prefix}active-rooms", room_id)
                page.delete(f"{target.prefix}chat:{room_id}")
                texts = [to_wire(message(room_id, f"kept-{number}")) for number in range(KEPT)]
                page.rpush(f"{target.prefix}chat:{room_id}", *texts)
                page.expire(f"{target.prefix}chat:{room_id}", DAY)
            page.expire(f"{target.prefix}active-rooms", DAY)
            await page.execute()


async def users(target: Target, room_id: str) -> list[str]:
    """See `UserReader`."""
    async with plain_client(target.url) as client:
        text = await client.get(f"{target.prefix}room:{room_id}")
    return [user["id"] for user in json.loads(text)["users"]]
