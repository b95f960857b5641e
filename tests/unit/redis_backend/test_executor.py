"""Tests of the command executor: the commands that it sends, and the results of calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from executor_calls import CALLS, DENIED, LOADING, LOST, NOSCRIPT, READING, REFUSED, WRONG, commit, failure
from fake_router import FakeRouter, on
from local_variables import shown_with_traceback
from virtual_time import now
from wnc_store import ConfigurationError, CorruptRecordError, OutcomeUnknownError, StoreError, StoreUnavailableError
from wnc_store_redis.cache import RoomCache
from wnc_store_redis.script_results import COMMITTED
from wnc_store_redis.scripts import COMMIT, COUNT, PUBLISH
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.statistics import Statistics

SECRET = "swordfish"
STORED = b'{"hostToken": "%b"}' % SECRET.encode()
"""A record that cannot be read. It ends with its secret, because the `repr` of a future leaves out the middle."""


async def test_the_first_reply_is_the_outcome() -> None:
    """The reply to the first attempt is returned; the script is sent by its SHA-1, with its keys and arguments."""
    router = FakeRouter(1)
    assert await commit(on(router)) == (COMMITTED, False)
    assert router.sent == [[b"EVALSHA", COMMIT.sha, b"2", b"room:A", b"k2", b"first"]]


async def test_an_error_reply_to_the_first_attempt_is_final() -> None:
    """An error reply to the first attempt means that nothing happened, unless it comes from inside the script."""
    for error_reply, kind in ((LOADING, StoreUnavailableError), (WRONG, StoreError), (DENIED, OutcomeUnknownError)):
        router = FakeRouter(error_reply, 1)
        assert type(await failure(commit(on(router)))) is kind
        assert len(router.sent) == 1


async def test_an_unknown_script_is_sent_with_its_source() -> None:
    """After NOSCRIPT the source of the script is sent, with the same keys, arguments and deadline."""
    router = FakeRouter(NOSCRIPT, 1)
    assert await commit(on(router)) == (COMMITTED, False)
    tail = [b"2", b"room:A", b"k2", b"first"]
    assert router.sent == [[b"EVALSHA", COMMIT.sha, *tail], [b"EVAL", COMMIT.source, *tail]]
    assert router.deadlines[0] == router.deadlines[1]


@pytest.mark.parametrize("replies", [[STORED], [LOST, STORED]], ids=["first", "retry"])
async def test_a_record_that_cannot_be_read_is_not_shown(replies: list[Any]) -> None:
    """Recorded local variables of a read that raises CorruptRecordError do not show the stored record."""
    cache = RoomCache(0, Statistics())
    reading = on(FakeRouter(*replies)).read(b"GET", b"room:A", decode=partial(cache.decode, b"room:A", "A"))
    with pytest.raises(CorruptRecordError) as caught:
        await reading
    shown = shown_with_traceback(caught.value)
    assert "in read" in shown
    assert SECRET not in shown


@pytest.mark.parametrize("name", CALLS)
async def test_a_command_is_routed_by_its_key(name: str) -> None:
    """Each command is submitted with its key and marked as a read or a write, also when a script is sent by source."""
    router = FakeRouter(NOSCRIPT, 1) if "script" in name else FakeRouter(1)
    assert await CALLS[name][0](on(router)) == 1
    assert set(router.keys) == {b"room:A"}
    assert set(router.writes) == {name not in READING}


@pytest.mark.parametrize("name", ["read", "a script", "a read-only script"])
async def test_a_reply_to_another_command_is_not_shown(name: str) -> None:
    """Recorded local variables of a call that got a record as a reply of the wrong type do not show the record."""
    error = await failure(CALLS[name][0](on(FakeRouter(STORED))))
    assert SECRET not in shown_with_traceback(error)


async def test_a_fork_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor detects that it is used in a forked child, unless the parent process never used it."""
    used, unused = on(FakeRouter(1)), on(FakeRouter(1))
    used.deadline()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert used.forked
    assert not unused.forked


def test_the_epoch_of_the_router_is_passed_on() -> None:
    """An executor returns the router's epoch of a key."""
    assert on(FakeRouter(1)).server_epoch(b"room:A") == b"room:A"


async def test_commands_of_one_call_are_sent_together() -> None:
    """The commands of one call are sent at once with one deadline, and their replies keep the order."""
    router = FakeRouter(b"1", b"2", b"3")
    commands = [(b"GET", b"k1"), (b"GET", b"k2"), (b"GET", b"k3")]
    assert await on(router).read_many(commands) == [b"1", b"2", b"3"]
    assert router.sent == [list(command) for command in commands]
    assert router.keys == [b"k1", b"k2", b"k3"]
    assert len(set(router.deadlines)) == 1


@pytest.mark.parametrize(("call", "_attempts", "_kind"), CALLS.values(), ids=CALLS)
async def test_an_error_reply_is_raised(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, _kind: type[StoreError]
) -> None:
    """An error reply is raised by the call at once."""
    router = FakeRouter(WRONG, 1)
    assert type(await failure(call(on(router)))) is StoreError
    assert len(router.sent) == 1


async def test_a_denied_command_inside_a_script_is_an_unknown_outcome() -> None:
    """A denied command inside a script that writes leaves the outcome unknown; elsewhere it is a ConfigurationError."""
    assert type(await failure(on(FakeRouter(DENIED)).run_script(COMMIT, [b"room:A"]))) is OutcomeUnknownError
    assert type(await failure(on(FakeRouter(DENIED)).run_script(COUNT, [b"room:A"]))) is ConfigurationError


async def test_a_call_has_a_deadline() -> None:
    """The deadline of a call is ten seconds after its start, or the one that the caller passes."""
    router = FakeRouter(1)
    commands, end = on(router), now() + 10
    await commands.read(b"EXISTS", b"room:A", deadline=end - 7)
    await commands.read(b"EXISTS", b"room:A")
    await commands.run_script(COMMIT, [b"room:A"])
    await commands.run_script(COUNT, [b"room:A"])
    await commands.read_many([(b"EXISTS", b"room:A"), (b"PTTL", b"room:A")])
    assert router.deadlines == [end - 7, *[end] * 5]
    assert commands.deadline() == end


async def test_a_command_without_a_key_names_none() -> None:
    """The error for a command without a key does not mention a key."""
    with pytest.raises(StoreUnavailableError) as caught:
        await on(FakeRouter(REFUSED)).read(b"PING")
    assert "key" not in str(caught.value)


async def test_a_sharded_message_is_published_by_a_script() -> None:
    """On a cluster a script with a key publishes; after ASK the plain command is sent."""
    router = FakeRouter(NOSCRIPT, LOADING, 1, has_failover=True)
    await on(router).run_script(PUBLISH, [b"room:A"], b"SPUBLISH", b"events:{room:A}", b"{}")
    arguments = [b"1", b"room:A", b"SPUBLISH", b"events:{room:A}", b"{}"]
    by_sha, by_source = [b"EVALSHA", PUBLISH.sha, *arguments], [b"EVAL", PUBLISH.source, *arguments]
    assert router.sent == [by_sha, by_source, by_sha]
    assert router.on_ask == [b"*3\r\n$8\r\nSPUBLISH\r\n$15\r\nevents:{room:A}\r\n$2\r\n{}\r\n"] * 3


async def test_an_unknown_outcome_is_final_after_a_while() -> None:
    """The error for an unknown outcome states that it is final after two time-outs."""
    error: Any = await failure(CALLS["a script"][0](on(FakeRouter(LOST))))
    assert error.final_after == timedelta(seconds=20)
