"""The data of all contenders that store what the Node app stores."""

from __future__ import annotations

import json
from collections.abc import Sequence

from wnc_store import to_wire
from wnc_store_bench.records import KEPT, message, room
from wnc_store_bench.server import Place, plain_client

DAY = 86_400
"""Seconds that a room and a chat live."""

_PAGE = 200


async def seed(place: Place, room_ids: Sequence[str], users: int) -> None:
    """See `Seeder`."""
    async with plain_client(place.url) as client:
        for start in range(0, len(room_ids), _PAGE):
            page = client.pipeline(transaction=False)
            for room_id in room_ids[start : start + _PAGE]:
                page.set(f"{place.prefix}room:{room_id}", to_wire(room(room_id, users)), ex=DAY)
                page.sadd(f"{place.prefix}active-rooms", room_id)
                page.delete(f"{place.prefix}chat:{room_id}")
                texts = [to_wire(message(room_id, f"kept-{number}")) for number in range(KEPT)]
                page.rpush(f"{place.prefix}chat:{room_id}", *texts)
                page.expire(f"{place.prefix}chat:{room_id}", DAY)
            page.expire(f"{place.prefix}active-rooms", DAY)
            await page.execute()


async def users(place: Place, room_id: str) -> list[str]:
    """See `Looker`."""
    async with plain_client(place.url) as client:
        text = await client.get(f"{place.prefix}room:{room_id}")
    return [user["id"] for user in json.loads(text)["users"]]
