"""A server that dies, is emptied, full, busy or misconfigured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chaos.outcomes import Outcome, outcome_of
from chaos.server import DurableServer, admin, durable_server, quiet
from chaos.worker import KEYS
from chaos.writes import WRITES, Write
from redis_server import redis_server
from waiting import wait_until
from wnc_store import (
    CorruptRecordError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
    StoreUnavailableError,
    open_store,
)
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room, user
from wnc_store_contract.faults.worker import SETTINGS, Worker


async def test_a_store_recovers(server: DurableServer) -> None:
    """A store whose call failed while its server was down serves the first call after the restart."""
    async with open_store(server.url) as store:
        await store.rooms.create_room(room("A"))
        server.kill()
        assert (await outcome_of(store.rooms.get_room("A"))).kind == "refused"
        assert (await outcome_of(store.rooms.add_user_to_room("A", user("lost")))).kind == "refused"
        await asyncio.to_thread(server.start)
        joined = await store.rooms.add_user_to_room("A", user("guest"))
    assert [one.id for one in joined.users] == ["host", "guest"]


async def test_closed_idle_connections_are_replaced(server: DurableServer) -> None:
    """After the server has closed the store's idle connection, the next calls work."""
    async with open_store(server.url) as store, admin(server.url) as client:
        await store.rooms.create_room(room("A"))
        await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await quiet(client)
        await store.rooms.add_user_to_room("A", user("guest"))
        await store.chat.add_message(message(1, "A"))
        assert (await store.rate_limits.hit("A")).allowed
        found = await store.rooms.get_room("A")
    assert found is not None
    assert [one.id for one in found.users] == ["host", "guest"]


async def test_a_reply_above_the_output_limit(server: DurableServer) -> None:
    """A reply above `client-output-buffer-limit` fails only its own call, and concurrent joins happen once."""
    async with open_store(server.url) as store, admin(server.url) as client:
        await store.rooms.create_room(room("B"))
        await client.set("room:A", b"x" * 5_000_000)
        await client.config_set("client-output-buffer-limit", "normal 1000000 0 0")
        huge, *joins = await asyncio.gather(
            outcome_of(store.rooms.get_room("A")),
            *(outcome_of(store.rooms.add_user_to_room("B", user(f"u{number}"))) for number in range(5)),
        )
        found = await store.rooms.get_room("B")
    assert huge.kind == "refused"
    assert {one.kind for one in joins} == {"done"}
    assert found is not None
    assert (found.rev, len(found.users)) == (6, 6)


async def test_an_emptied_server_is_an_empty_store(server: DurableServer) -> None:
    """FLUSHALL under load causes RoomNotFoundError and no other error."""
    async with open_store(server.url, settings=SETTINGS) as store, admin(server.url) as client:
        worker = Worker([store], "w", 1, KEYS)
        await worker.work(400, client.flushall, every=20)
        await client.flushall()
        assert await store.rooms.get_room("A") is None
        await store.rooms.create_room(room("A"))
        assert [one async for one in store.rooms.active_room_ids()] == ["A"]
    assert worker.errors == []
    assert {one.answer for one in worker.history} <= {"ok", "not found", "exists", "unknown"}


Condition = Callable[[DurableServer, Any], AbstractAsyncContextManager[None]]


def setting(name: str, value: str, normal: str) -> Condition:
    """Return a condition that a setting creates."""

    @asynccontextmanager
    async def condition(_server: DurableServer, client: Any) -> AsyncGenerator[None]:
        await client.config_set(name, value)
        yield
        await client.config_set(name, normal)

    return condition


@asynccontextmanager
async def replica(_server: DurableServer, client: Any) -> AsyncGenerator[None]:
    """Make the server a read-only replica without a master."""
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield
    await client.execute_command("REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def busy(server: DurableServer, client: Any) -> AsyncGenerator[None]:
    """Keep the server busy with a script of another client."""
    async with admin(server.url) as other:
        script = asyncio.ensure_future(outcome_of(other.eval("while true do end", 0)))

        async def is_busy() -> bool:
            return (await outcome_of(client.get("x"))).kind != "done"

        await wait_until(is_busy)
        yield
        await client.script_kill()
        await script


@asynccontextmanager
async def misconfigured(_server: DurableServer, client: Any) -> AsyncGenerator[None]:
    """Let a save to disk fail, after which the server rejects writes."""
    await client.config_set("save", "3600 100000")
    folder = (await client.config_get("dir"))["dir"]
    await asyncio.to_thread((Path(folder) / "dump.rdb" / "in the way").mkdir, parents=True)
    await client.bgsave()

    async def has_failed() -> bool:
        return (await client.info("persistence"))["rdb_last_bgsave_status"] == "err"

    await wait_until(has_failed)
    yield
    await client.config_set("save", "")


CONDITIONS: dict[str, Condition] = {
    "OOM": setting("maxmemory", "1", "0"),
    "READONLY": replica,
    "BUSY": busy,
    "MISCONF": misconfigured,
    "NOREPLICAS": setting("min-replicas-to-write", "1", "0"),
}


async def _dump(client: Any) -> dict[bytes, bytes]:
    return {key: await client.dump(key) for key in sorted(await client.keys("*"))}


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_rejected_write_changes_nothing(name: str) -> None:
    """A write that the server rejects raises StoreUnavailableError and changes no key, and a later write works."""
    with durable_server("--busy-reply-threshold", "20", "--enable-debug-command", "yes") as server:
        async with open_store(server.url) as store, admin(server.url) as client:
            for write in WRITES:
                if write.prepare:
                    await write.prepare(store, _name(write))
                await write.read(store, _name(write))
            before = await _dump(client)
            async with CONDITIONS[name](server, client):
                ended = {write.name: await outcome_of(write.call(store, _name(write))) for write in WRITES}
            # Operations that free memory before they write succeed on a full server.
            freeing = {"last leave", "delete", "remove message", "clear", "release", "acquire"}
            working = freeing if name == "OOM" else set[str]()
            assert {one: how for one, how in ended.items() if how.kind != "refused" and one not in working} == {}
            assert all(ended[one].kind in {"done", "refused"} for one in working)
            after = await _dump(client)
            changed = {key.decode() for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            allowed = {f"{one.key}:{_name(one)}" for one in WRITES if one.name in working}
            assert changed <= allowed | ({"active-rooms"} if working else set())
            for write in WRITES:
                if ended[write.name].kind == "refused":
                    assert (await outcome_of(write.call(store, _name(write)))).kind == "done", write.name


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
async def test_a_removal_works_on_a_full_server(server: DurableServer, order: Any) -> None:
    """While the server's memory is full, an edit is refused, and one of several messages can be removed."""
    async with (
        open_store(server.url, settings=StoreSettings(chat_order=order, chat_history_limit=3)) as store,
        admin(server.url) as client,
    ):
        for number in range(3):
            await store.chat.add_message(message(number, "A"))
        await client.execute_command("RPUSH" if order == "newest_first" else "LPUSH", "chat:A", "not kept")
        async with setting("maxmemory", "1", "0")(server, client):
            assert (await outcome_of(store.chat.edit_message("A", "m0", like))).kind == "refused"
            assert await store.chat.remove_message("A", "m1") is True
        assert await store.chat.get_messages("A") == [message(0, "A"), message(2, "A")]
        assert await client.llen("chat:A") == 2


def _name(write: Write) -> str:
    return write.name.replace(" ", "-")


async def test_the_client_limit_of_the_server() -> None:
    """At the server's client limit, the error contains a remedy."""
    with redis_server("--maxclients", "1") as full:
        async with open_store(full.url) as first, open_store(full.url) as second:
            await first.ping()
            with pytest.raises(StoreUnavailableError, match="maxclients"):
                await second.ping()


async def test_a_server_is_loading() -> None:
    """While the server loads its data, calls raise StoreUnavailableError, and afterwards all data is available."""
    with durable_server("--enable-debug-command", "yes", "--key-load-delay", "2000") as server:
        async with open_store(server.url) as store, admin(server.url) as client:
            await asyncio.gather(*(store.rooms.create_room(room(f"R{number}")) for number in range(100)))
            loading = asyncio.ensure_future(outcome_of(client.execute_command("DEBUG", "LOADAOF")))
            ended: list[Outcome] = []
            while not loading.done():
                ended.append(await outcome_of(store.rooms.get_room("R1")))
            assert {one.kind for one in ended} <= {"done", "refused"}
            assert len([one async for one in store.rooms.active_room_ids()]) == 100


WRONG_KINDS = {"room": "room:{}", "chat": "chat:{}", "connections": "connections:{}", "rl": "rl:{}"}


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
async def test_a_key_of_another_type_is_reported(server: DurableServer, write: Write) -> None:
    """A write to a key of another type raises an error and changes no key."""
    key = WRONG_KINDS[write.key].format("A")
    async with open_store(server.url) as store, admin(server.url) as client:
        await client.hset(key, "field", "value")
        before = await _dump(client)
        outcome = await outcome_of(write.call(store, "A"))
        if write.name in {"delete", "clear"}:
            assert (outcome.kind, await client.exists(key)) == ("done", 0)
        else:
            assert isinstance(outcome.error, CorruptRecordError)
            assert await _dump(client) == before
        await client.delete(key)
        assert (await outcome_of(write.read(store, "A"))).kind == "done"


@pytest.mark.parametrize("name", [one.name for one in WRITES if one.key == "room"])
async def test_an_index_of_another_type_prevents_a_write(server: DurableServer, name: str) -> None:
    """A write to a room whose index is not a set changes no key."""
    write = next(one for one in WRITES if one.name == name)
    async with open_store(server.url) as store, admin(server.url) as client:
        if write.prepare:
            await write.prepare(store, "A")
        await client.delete("active-rooms")
        await client.set("active-rooms", "no set")
        before = await _dump(client)
        assert isinstance((await outcome_of(write.call(store, "A"))).error, CorruptRecordError)
        assert await _dump(client) == before


async def test_a_huge_value_affects_only_its_room(server: DurableServer) -> None:
    """A value of 50 MB in a room's key fails only calls for that room, while other rooms work."""
    async with open_store(server.url) as store, admin(server.url) as client:
        await store.rooms.create_room(room("B"))
        await client.set("room:A", b"x" * 50_000_000)
        huge, joined, said = await asyncio.gather(
            outcome_of(store.rooms.get_room("A")),
            store.rooms.add_user_to_room("B", user("guest")),
            outcome_of(store.chat.add_message(message(1, "B"))),
        )
        assert isinstance(huge.error, CorruptRecordError | StoreTimeoutError)
        assert [one.id for one in joined.users] == ["host", "guest"]
        assert said.kind == "done"
        changed = await outcome_of(store.rooms.add_user_to_room("A", user("guest")))
        assert isinstance(changed.error, StoreError)
        assert await client.strlen("room:A") == 50_000_000
        assert await store.rooms.delete_room("A") is True
