"""Export and import between memory, Redis and Postgres, in every direction, without a loss."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from rich.progress import Progress

from chaos.server import emptied
from redis_server import RedisServer
from wnc_store import ChatMessage, Room, Snapshot, Store, SupportsRestore, from_wire, open_store
from wnc_store.cli import transfer
from wnc_store_contract.factories import message, node_record, node_records, room

_BACKENDS = ("memory", "redis", "postgres")
_HOUR = timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
async def stores(url: str, redis_server: RedisServer) -> AsyncIterator[dict[str, Store]]:
    """An empty store of each backend."""
    redis_url = redis_server.url.replace("/0", "/13")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(emptied(redis_url))
        urls = {"memory": "memory://", "redis": redis_url, "postgres": url}
        yield {name: await stack.enter_async_context(open_store(url)) for name, url in urls.items()}


def snapshots() -> Sequence[Snapshot]:
    """Return the rooms written by Node, each with another TTL, one of them with all messages written by Node."""
    rooms = [from_wire(Room, node_record(name), key=name) for name in node_records("room")]
    unique = [room.model_copy(update={"id": f"{room.id}:{number}"}) for number, room in enumerate(rooms)]
    messages = tuple(from_wire(ChatMessage, node_record(name), key=name) for name in node_records("message"))
    first, *others = [Snapshot(room, (number + 2) * _HOUR) for number, room in enumerate(unique)]
    return [Snapshot(first.room, first.room_ttl, messages, _HOUR), *others]


async def export(store: Store) -> str:
    """Return what `wnc-store export` writes."""
    file = io.StringIO()
    with Progress(disable=True) as progress:
        progress.add_task("")
        assert await transfer._export(store, file, progress) == 0
    return file.getvalue()


async def load(store: Store, exported: str) -> None:
    """Do what `wnc-store import` does."""
    with Progress(disable=True) as progress:
        progress.add_task("")
        lines = io.BytesIO(exported.encode())
        assert await transfer._import(store, transfer._read(lines, "test"), progress, replace=False) == 0


def contents(exported: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Return the rooms and messages of an export by room, and the TTLs of each room and its chat in milliseconds."""
    _, *lines, _ = map(json.loads, exported.splitlines())
    ttls = {line["room"]["id"]: [line.pop("roomTtlMs"), line.pop("chatTtlMs", 0)] for line in lines}
    return {line["room"]["id"]: line for line in lines}, ttls


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(_BACKENDS, 2)))
async def test_nothing_is_lost(stores: dict[str, Store], source: str, target: str) -> None:
    """An export of Node's records from one backend and its import into another keeps all fields, texts and TTLs."""
    first, second = stores[source], stores[target]
    assert isinstance(first, SupportsRestore)
    for snapshot in snapshots():
        await first.restore(snapshot)
    exported = await export(first)
    expected, ttls = contents(exported)
    assert {room_id: line["room"] for room_id, line in expected.items()} == {
        snapshot.room.id: snapshot.room.to_json() for snapshot in snapshots()
    }
    await load(second, exported)
    found, found_ttls = contents(await export(second))
    assert found == expected
    for room_id, before in ttls.items():
        for ttl, left in zip(before, found_ttls[room_id], strict=True):
            assert ttl - _HOUR / _MILLISECOND < left <= ttl, room_id


async def test_a_message_keeps_an_id_that_no_text_can_contain(store: Store) -> None:
    """A message whose id has a NUL or half of a surrogate pair, as another program stored it, is restored unchanged."""
    stored = [message(1, "A").model_copy(update={"id": odd}) for odd in ("a\0b", "a\ud83d")]
    assert isinstance(store, SupportsRestore)
    await store.restore(Snapshot(room("A"), _HOUR, tuple(stored), _HOUR))
    await store.chat.add_message(message(2, "A"))
    assert await store.chat.get_messages("A") == [*stored, message(2, "A")]
