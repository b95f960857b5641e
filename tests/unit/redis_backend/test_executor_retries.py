"""Tests of the command executor's retries, and of the errors of calls that failed after them."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, ResponseError

from executor_calls import CALLS, DENIED, LOADING, LOST, READING, REFUSED, WRONG, commit, failure, release
from fake_router import FakeRouter, on
from virtual_time import now
from wnc_store import OutcomeUnknownError, StoreClosedError, StoreError, StoreTimeoutError, StoreUnavailableError
from wnc_store_redis.script_results import COMMITTED, StoredBytes
from wnc_store_redis.scripts import RELEASE
from wnc_store_redis.transport.errors import UnfencedError, UnknownServiceError
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.retry import ConnectHungError, NoReplyError, QueryLostError, RedirectedError

SILENT = NoReplyError(TimeoutError(), sent=True)
HUNG = NoReplyError(ConnectHungError(), sent=False)
NOT_COUNTED = NoReplyError(QueryLostError(), sent=False)
REDIRECTED = RedirectedError("CLUSTERDOWN redirected")
EXPIRED = ResponseError("EXPIRED 1700000000000")


async def test_a_lost_reply_leads_to_a_retry() -> None:
    """After a lost connection the script is sent with the retry arguments, and the reply is marked as a retry's."""
    router = FakeRouter(LOST, LOST, [0, b"x"])
    assert await commit(on(router)) == (StoredBytes(b"x"), True)
    assert [command[-1] for command in router.sent] == [b"first", b"retry", b"retry"]
    assert router.delays == [0.005, 0.01]


async def test_there_are_five_attempts() -> None:
    """A script whose connection is lost each time fails after five attempts with growing delays."""
    router = FakeRouter(LOST)
    error = await failure(commit(on(router)))
    assert type(error) is OutcomeUnknownError
    assert error.__cause__ is LOST.reason
    assert len(router.sent) == 5
    assert router.delays == [0.005, 0.01, 0.02, 0.04]


async def test_an_unsent_script_did_not_run() -> None:
    """If no connection can be opened, the script fails at once, as not run."""
    router = FakeRouter(REFUSED)
    assert type(await failure(commit(on(router)))) is StoreUnavailableError
    assert len(router.sent) == 1


async def test_retries_wait_for_a_server_that_is_down() -> None:
    """After a lost connection, refused connections are retried with delays of at most 0.25 s."""
    router = FakeRouter(LOST, *[REFUSED] * 9, 1)
    assert await commit(on(router)) == (COMMITTED, True)
    assert router.delays == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25, 0.25]


async def test_retries_end_before_the_deadline() -> None:
    """No delay exceeds the deadline; the outcome is then unknown."""
    router = FakeRouter(LOST, REFUSED)
    assert type(await failure(commit(on(router), seconds=0.03))) is OutcomeUnknownError
    assert router.delays == [0.005, 0.01]


async def test_a_temporary_error_of_a_retry_is_retried() -> None:
    """A temporary error of a retry leads to another retry; a permanent error leaves the outcome unknown."""
    router = FakeRouter(LOST, LOADING, LOADING, 1)
    assert await commit(on(router)) == (COMMITTED, True)
    assert router.delays == [0.005, 0.01, 0.02]
    for error_reply in (WRONG, DENIED):
        router = FakeRouter(LOST, error_reply, 1)
        error = await failure(commit(on(router)))
        assert type(error) is OutcomeUnknownError
        assert error.__cause__ is error_reply
        assert len(router.sent) == 2


@pytest.mark.parametrize("call", [commit, CALLS["read"][0]], ids=["commit", "read"])
async def test_each_retry_is_counted(call: Callable[[CommandExecutor], Awaitable[Any]]) -> None:
    """Each attempt after the first counts as a retry."""
    commands = on(FakeRouter(LOST, LOST, 1))
    await call(commands)
    assert commands.statistics.retries == 2


@pytest.mark.parametrize(("call", "attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_only_idempotent_calls_are_retried(
    call: Callable[[CommandExecutor], Awaitable[Any]], attempts: int, kind: type[StoreError]
) -> None:
    """After a lost connection only idempotent calls are retried; other writes have an unknown outcome."""
    router = FakeRouter(LOST)
    assert type(await failure(call(on(router)))) is kind
    assert len(router.sent) == attempts
    if attempts > 1:
        assert await call(on(FakeRouter(LOST, LOST, LOST, LOST, 1))) == 1


async def test_an_idempotent_script_is_retried() -> None:
    """After a lost connection an idempotent script is retried unchanged; an error reply leaves the outcome unknown."""
    router = FakeRouter(LOST, REFUSED, LOADING, 1)
    assert await release(on(router)) == 1
    assert router.sent == [[b"EVALSHA", RELEASE.sha, b"1", b"room:A", b"c1"]] * 4
    assert router.delays == [0.005, 0.01, 0.02]
    for replies, attempts in ((LOST,), 5), ((LOST, WRONG), 2):
        router = FakeRouter(*replies)
        assert type(await failure(release(on(router)))) is OutcomeUnknownError
        assert len(router.sent) == attempts


@pytest.mark.parametrize("call", [commit, release])
async def test_closing_between_attempts_is_an_unknown_outcome(
    call: Callable[[CommandExecutor], Awaitable[Any]],
) -> None:
    """Closing the store before a retry leaves the outcome unknown; before the first attempt, nothing happened."""
    router = FakeRouter(LOST, StoreClosedError())
    error = await failure(call(on(router)))
    assert type(error) is OutcomeUnknownError
    assert type(error.__cause__) is StoreClosedError
    assert router.delays == [0.005]
    with pytest.raises(StoreClosedError):
        await call(on(FakeRouter(StoreClosedError())))


@pytest.mark.parametrize(("call", "_attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_a_time_out_is_not_retried(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, kind: type[StoreError]
) -> None:
    """A call that timed out is not retried."""
    router = FakeRouter(SILENT, 1)
    expected = StoreTimeoutError if kind is StoreUnavailableError else kind
    assert type(await failure(call(on(router)))) is expected
    assert len(router.sent) == 1


@pytest.mark.parametrize(("call", "_attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_a_refused_connection_is_not_retried(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, kind: type[StoreError]
) -> None:
    """If no connection can be opened, nothing happened; after a lost connection, a write may have."""
    router = FakeRouter(REFUSED, 1)
    assert type(await failure(call(on(router)))) is StoreUnavailableError
    assert len(router.sent) == 1
    if _attempts > 1:
        router = FakeRouter(LOST, REFUSED, 1)
        assert type(await failure(call(on(router)))) is kind
        assert len(router.sent) == 2


async def test_an_unsent_command_is_sent_again_if_the_server_may_be_available() -> None:
    """A command that was not sent, although the server may be available, is sent later, as a first attempt."""
    router = FakeRouter(HUNG, NOT_COUNTED, 1)
    assert await commit(on(router)) == (COMMITTED, False)
    assert [command[-1] for command in router.sent] == [b"first"] * 3
    assert router.delays == [0.005, 0.01]
    for replies in ([HUNG, b"x"], [HUNG, HUNG, HUNG, HUNG, HUNG, HUNG, b"x"]):
        assert await on(FakeRouter(*replies)).read(b"GET", b"room:A") == b"x"


@pytest.mark.parametrize("name", CALLS)
async def test_calls_wait_for_a_failover(name: str) -> None:
    """If another server may take over, calls are repeated while no server is reachable or the errors are temporary."""
    failures = [REFUSED, LOADING, *[ResponseError(f"{code} x") for code in ("READONLY", "NOREPLICAS", "MASTERDOWN")]]
    router = FakeRouter(*failures, 1, has_failover=True)
    commands = on(router)
    assert await CALLS[name][0](commands) == 1
    assert commands.statistics.retries == 5
    assert router.delays == [0.005, 0.01, 0.02, 0.04, 0.08]
    router = FakeRouter(REFUSED, has_failover=True)
    end = now() + 10
    assert type(await failure(CALLS[name][0](on(router)))) is StoreUnavailableError
    assert end - 0.25 <= now() < end


@pytest.mark.parametrize("error", [AuthenticationError(), UnknownServiceError(), TimeoutError(), WRONG])
async def test_a_permanent_failure_is_not_retried(error: BaseException) -> None:
    """A failure that no failover ends is raised at once."""
    router = FakeRouter(NoReplyError(error, sent=False), 1, has_failover=True)
    with pytest.raises(StoreError):
        await on(router).read(b"GET", b"room:A")
    for code in ("BUSY", "OOM", "MISCONF", "ERR"):
        assert isinstance(await failure(release(on(FakeRouter(ResponseError(code), 1, has_failover=True)))), StoreError)
    assert len(router.sent) == 1


async def test_a_write_without_a_reply_is_not_repeated_after_a_failover() -> None:
    """A write that may have been received is not sent again, even if another server may take over."""
    router = FakeRouter(REFUSED, LOST, 1, has_failover=True)
    assert type(await failure(CALLS["a script"][0](on(router)))) is OutcomeUnknownError
    assert len(router.sent) == 2


@pytest.mark.parametrize("name", sorted(READING))
async def test_a_time_out_of_the_system_is_a_lost_connection(name: str) -> None:
    """The ETIMEDOUT of a dead connection is not the deadline of the operation, so a read is repeated."""
    router = FakeRouter(NoReplyError(TimeoutError(errno.ETIMEDOUT, "timed out"), sent=True), 1)
    assert await CALLS[name][0](on(router)) == 1


@pytest.mark.parametrize("name", sorted(READING))
async def test_a_read_is_repeated_at_once(name: str) -> None:
    """After a lost connection a read is repeated without a delay, so it does not interrupt each attempt of a write."""
    router = FakeRouter(LOST, LOST, 1)
    assert await CALLS[name][0](on(router)) == 1
    assert router.delays == [0, 0]


async def test_a_write_that_arrives_too_late_is_sent_again() -> None:
    """A script that was refused as too late did not run, so it is sent again, until the deadline."""
    router = FakeRouter(EXPIRED, EXPIRED, 1)
    assert await CALLS["a script"][0](on(router)) == 1
    assert type(await failure(CALLS["a script"][0](on(FakeRouter(EXPIRED))))) is StoreTimeoutError


async def test_an_unfenced_write_is_not_repeated() -> None:
    """If the first attempt of a write may still run, the write is not repeated. A read is."""
    unfenced = NoReplyError(UnfencedError(), sent=True)
    error = await failure(release(on(FakeRouter(unfenced, 1))))
    assert type(error) is OutcomeUnknownError
    assert "CLIENT KILL" in str(error)
    assert await CALLS["read"][0](on(FakeRouter(unfenced, 1))) == 1


async def test_redirections_are_followed_at_once() -> None:
    """The first three redirections are followed without a delay."""
    router = FakeRouter(*[REDIRECTED] * 5, 1, has_failover=True)
    assert await CALLS["a script"][0](on(router)) == 1
    assert router.delays == [0, 0, 0, 0.005, 0.01]
