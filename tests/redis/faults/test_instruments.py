"""Tests of the proxy, the ledger and the checks that the fault tests use."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import pytest

from chaos.ledger import Ledger, commands, read_folder, transactions
from chaos.outcomes import Outcome, untruth
from chaos.server import durable_server
from proxy import Cut, How, Proxy, Side, proxy_to
from tcp import closing_streams, tcp_server
from waiting import wait_until
from wnc_store import OutcomeUnknownError, StoreUnavailableError
from wnc_store_contract.factories import message, room, user
from wnc_store_redis import RedisStore


def packed(*words: bytes) -> bytes:
    """Return a command in the format of an append-only file."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def test_a_torn_command_at_the_end_is_ignored() -> None:
    """Wherever a file ends, the complete commands before the torn one are read."""
    whole = packed(b"set", b"room:A", b"{}\r\n") + packed(b"DEL", b"room:A")
    first = len(packed(b"set", b"room:A", b"{}\r\n"))
    for end in range(len(whole)):
        found = list(commands(whole[:end]))
        assert found == ([(b"SET", b"room:A", b"{}\r\n")] if end >= first else [])


def test_a_transaction_is_one_step() -> None:
    """The commands between MULTI and EXEC are one step, and none if EXEC is missing."""
    one, two = packed(b"SADD", b"active-rooms", b"A"), packed(b"DEL", b"chat:A")
    begun = packed(b"SELECT", b"0") + packed(b"MULTI") + one + two
    assert list(transactions(begun)) == []
    assert [len(step) for step in transactions(begun + packed(b"EXEC") + two)] == [2, 1]


def test_an_invalid_file_is_rejected() -> None:
    """Data that is not RESP raises an error instead of an empty history."""
    with pytest.raises(ValueError, match="expected"):
        list(commands(b"REDIS0011\r\n"))


async def test_the_ledger_contains_what_a_server_applied() -> None:
    """Rooms, messages and deletions are read from a real server's file, across a kill and a restart."""
    with durable_server() as server:
        async with RedisStore.from_url(server.url) as store:
            await store.rooms.create_room(room("A"))
            await store.rooms.add_user_to_room("A", user("guest"))
            await store.chat.add_message(message(1, "A"))
        server.kill()
        server.start()
        async with RedisStore.from_url(server.url) as store:
            await store.chat.add_message(message(2, "A"))
            await store.rooms.delete_room("A")
        ledger = server.ledger()
    assert [state and len(state["users"]) for state in ledger.rooms["A"]] == [1, 2, None]
    assert [entry and entry["id"] for entry in ledger.chats["A"]] == ["m1", "m2", None]
    assert {key: ledger.steps[key] for key in ("room:A", "chat:A")} == {"room:A": 3, "chat:A": 3}


def test_a_snapshot_with_data_is_rejected(tmp_path: Path) -> None:
    """A server that started with data has a history that its incremental files do not contain."""
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "appendonly.aof.manifest").write_text("file base.rdb seq 1 type b\n")
    (folder / "base.rdb").write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="contains data"):
        read_folder(tmp_path)


def test_identical_bytes_are_not_a_change() -> None:
    """Writing identical bytes to a room does not count as a change, and different bytes or a deletion do."""
    ledger = Ledger()
    for state in (b'{"rev": 1}', b'{"rev": 1}', b'{"rev": 2}'):
        ledger.add([(b"SET", b"room:A", state)])
    ledger.add([(b"DEL", b"room:A", b"chat:A")])
    assert (ledger.changes("room:A"), ledger.changes("chat:A"), ledger.changes("rl:A")) == (3, 1, 0)


@asynccontextmanager
async def echo_through_proxy() -> AsyncGenerator[tuple[Proxy, list[bytes]]]:
    """Run a proxy to a server that sends back what it receives. Yield the proxy and the received chunks."""
    received: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            received.append(data)
            writer.write(data)

    async with tcp_server(echo) as target, proxy_to(target) as proxy:
        yield proxy, received


@pytest.mark.parametrize("side", ["request", "reply"])
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("after", [0, 1, 7, 10])
async def test_a_cut_forwards_an_exact_number_of_bytes(side: Side, how: How, after: int) -> None:
    """A cut connection has forwarded exactly the given number of bytes, and the next connection forwards all."""
    async with echo_through_proxy() as (proxy, on_message):
        proxy.arm(Cut(side, after, how))
        got = b""
        async with closing_streams(await asyncio.open_connection("127.0.0.1", proxy.port)) as (reader, writer):
            writer.write(b"0123456789")
            try:
                while data := await reader.read(100):
                    got += data
            except ConnectionError:
                assert how == "reset"
        assert proxy.passed[side] == after
        if how == "close":  # a reset may discard bytes in flight
            reached = b"0123456789"[: after if side == "request" else 10]
            await wait_until(lambda: b"".join(on_message) == reached)
            assert got == (b"" if side == "request" else b"0123456789"[:after])
        on_message.clear()
        async with closing_streams(await asyncio.open_connection("127.0.0.1", proxy.port)) as (reader, writer):
            writer.write(b"0123456789")
            assert await reader.readexactly(10) == b"0123456789"
        await wait_until(lambda: proxy.open_connections == 0)
        assert proxy.connections == 2


async def test_a_black_hole_holds_bytes_until_it_opens() -> None:
    """A black hole forwards nothing, and the held bytes follow when it opens, in one chunk or byte by byte."""
    async with echo_through_proxy() as (proxy, _):
        proxy.close_hole()
        proxy.slice_bytes = 1
        async with closing_streams(await asyncio.open_connection("127.0.0.1", proxy.port)) as (reader, writer):
            writer.write(b"0123456789")
            await wait_until(lambda: proxy.open_connections == 1)
            assert proxy.passed["request"] == 0
            proxy.open_hole()
            assert await reader.readexactly(10) == b"0123456789"


@pytest.mark.parametrize("ticks", range(8))
async def test_a_server_that_ends_closes_every_connection(ticks: int) -> None:
    """Servers and proxies leave no connection and no task, at whichever step of accepting connections they end."""
    with ExitStack() as stack:
        async with echo_through_proxy() as (proxy, _):
            address = ("127.0.0.1", proxy.port)
            clients = [stack.enter_context(socket.create_connection(address)) for _ in range(5)]
            for _ in range(ticks):
                await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        for client in clients:
            client.setblocking(False)
            with suppress(ConnectionResetError):
                assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("outcome", "steps", "repeatable", "found"),
    [
        (Outcome("done", 1), 1, False, None),
        (Outcome("done", 1), 0, False, "never applied"),
        (Outcome("done", 1), 2, False, "2 times"),
        (Outcome("done", 1), 2, True, None),
        (Outcome("done", 2), 1, False, "instead of"),
        (Outcome("refused", error=StoreUnavailableError()), 0, False, None),
        (Outcome("refused", error=StoreUnavailableError()), 1, True, "applied 1 times"),
        (Outcome("unknown", error=OutcomeUnknownError()), 0, False, None),
        (Outcome("unknown", error=OutcomeUnknownError()), 1, False, None),
        (Outcome("unknown", error=OutcomeUnknownError()), 2, False, "2 times"),
        (Outcome("wrong", error=KeyError()), 0, False, "KeyError"),
    ],
)
def test_false_outcomes_are_detected(outcome: Outcome, steps: int, repeatable: bool, found: str | None) -> None:
    """An outcome is checked against the number of times that the write was applied and against its result."""
    problem = untruth(outcome, 1, steps, repeatable=repeatable)
    assert problem is None if found is None else problem is not None and found in problem
