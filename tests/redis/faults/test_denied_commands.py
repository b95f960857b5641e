"""Servers that deny or lack a command that a script runs after its first write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from acl import permit
from chaos.outcomes import outcome_of
from chaos.server import DurableServer, admin, durable_server
from wnc_store import ConfigurationError, Store, StoreSettings
from wnc_store_contract.calls import like
from wnc_store_contract.factories import message, room
from wnc_store_redis import RedisStore

WRITES: dict[str, Callable[[Store], Awaitable[object]]] = {
    "room:A": lambda store: store.rooms.create_room(room("A")),
    "chat:A": lambda store: store.chat.add_message(message(0, "A")),
    "connections:A": lambda store: store.connections.acquire("A", "c"),
    "rl:A": lambda store: store.rate_limits.hit("A"),
}
"""The key of each write, and the write."""


async def _check_writes(server: DurableServer, url: str, command: str) -> None:
    """Check that each write is either done or refused, and that at least one is refused because of the command."""
    settings = StoreSettings(publish_changes=True)
    async with RedisStore.from_url(url, settings) as store, admin(server.url) as client:
        refused: list[BaseException] = []
        for key, write in WRITES.items():
            outcome = await outcome_of(write(store))
            assert await client.exists(key) == (outcome.kind == "done"), key
            if outcome.kind != "done":
                assert isinstance(outcome.error, ConfigurationError)
                refused.append(outcome.error)
    assert [str(error) for error in refused if command.upper() not in str(error)] == []
    assert refused


@pytest.mark.parametrize(
    "command", ["del", "ltrim", "pexpire", "publish", "rpush", "sadd", "set", "srem", "time", "zadd"]
)
async def test_no_script_stops_halfway_without_a_permission(server: DurableServer, command: str) -> None:
    """Without the permission for a command, a write fails as not done, and has changed nothing."""
    await _check_writes(server, permit(server, without=f"+{command}"), command)


@pytest.mark.parametrize("command", ["del", "ltrim", "pexpire", "publish"])
async def test_no_script_stops_halfway_on_a_server_without_a_command(command: str) -> None:
    """If the server lacks a command, a write fails as not done, and has changed nothing."""
    with durable_server("--rename-command", command, "") as server:
        await _check_writes(server, server.url, command)


async def test_a_denied_channel_stops_no_script_halfway(server: DurableServer) -> None:
    """If the user may not publish in the channel of a room, a write fails as not done, and has changed nothing."""
    await _check_writes(server, permit(server, without="&events:*"), "publish")


@pytest.mark.parametrize("command", ["lrem", "lset", "ltrim", "pexpire", "publish"])
async def test_no_edit_stops_halfway_without_a_permission(server: DurableServer, command: str) -> None:
    """Without the permission for a command, edits and removals of messages fail as not done, and change nothing."""
    sent = [message(number, "A") for number in range(2)]
    async with RedisStore.from_url(server.url) as direct:
        for entry in sent:
            await direct.chat.add_message(entry)
        url = permit(server, without=f"+{command}")
        async with RedisStore.from_url(url, StoreSettings(publish_changes=True)) as store:
            for write in (store.chat.edit_message("A", "m1", like), store.chat.remove_message("A", "m1")):
                outcome = await outcome_of(write)
                assert isinstance(outcome.error, ConfigurationError)
                assert command.upper() in str(outcome.error)
        assert await direct.chat.get_messages("A") == sent
