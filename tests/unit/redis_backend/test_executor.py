"""Commands on Redis by themselves: what is sent again, how often, and what its callers are told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hiredis import Reader
from redis.exceptions import ResponseError

from virtual_time import now
from wnc_store import (
    ConfigurationError,
    OutcomeUnknownError,
    StoreClosedError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from wnc_store_redis.scripts import ACQUIRE, COMMIT, COUNT, PUBLISH
from wnc_store_redis.transport.executor import CommandExecutor
from wnc_store_redis.transport.multiplexer import ConnectHungError, NoReplyError
from wnc_store_redis.transport.statistics import Statistics

LOST = NoReplyError(ConnectionResetError(), sent=True)
REFUSED = NoReplyError(ConnectionRefusedError(), sent=False)
SILENT = NoReplyError(TimeoutError(), sent=True)
HUNG = NoReplyError(ConnectHungError(), sent=False)
LOADING = ResponseError("LOADING Redis is loading the dataset in memory")
WRONG = ResponseError("ERR something is wrong")
DENIED = ResponseError("ERR The user executing the script can't run this command or subcommand script: 1")
NOSCRIPT = ResponseError("NOSCRIPT No matching script.")


class Wire:
    """The way of commands to a server that answers as it was told to, one after the other, and then always the same."""

    endpoint = "host:1"
    is_sharded = False

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[bytes]] = []
        self.times: list[float] = []
        self.keys: list[bytes] = []
        self.deadlines: list[float] = []
        self.writes: list[bool] = []
        self.on_ask: list[bytes | None] = []

    def submit(
        self, key: bytes, packed: bytes, deadline: float, *, writes: bool, on_ask: bytes | None = None
    ) -> asyncio.Future[Any]:
        """See `Router.submit`."""
        reader = Reader()
        reader.feed(packed)
        command: Any = reader.gets()
        self.sent.append(command)
        self.times.append(now())
        self.keys.append(key)
        self.deadlines.append(deadline)
        self.writes.append(writes)
        self.on_ask.append(on_ask)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if isinstance(answer, NoReplyError | StoreClosedError):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def server_epoch(self, key: bytes) -> bytes:
        """See `Router.server_epoch`: each key is in a place of its own."""
        return key

    @property
    def pauses(self) -> Any:
        """The seconds between two commands."""
        return pytest.approx([after - before for before, after in pairwise(self.times)])


def on(wire: Wire) -> CommandExecutor:
    """Return commands on a wire, for ten seconds each."""
    route: Any = wire
    return CommandExecutor(route, timedelta(seconds=10), Statistics())


async def settle(commands: CommandExecutor, seconds: float = 10) -> tuple[Any, bool]:
    """Settle a commit."""
    sent = commands.start_script(COMMIT, [b"room:A", b"k2"], b"first", deadline=now() + seconds)
    return await commands.finish_script(sent, retry_args=[b"again"])


async def acquire(commands: CommandExecutor) -> Any:
    """Run a script that may be repeated."""
    return await commands.run_script(ACQUIRE, [b"room:A"], b"c1")


async def failure(work: Awaitable[Any]) -> StoreError:
    """Return what a call raises; it names the key and the server."""
    with pytest.raises(StoreError) as caught:
        await work
    assert "(key 'room:A')" in str(caught.value)
    assert "host:1" in str(caught.value)
    return caught.value


async def test_an_answer_settles_it() -> None:
    """A reply to the first attempt is returned as such; the script goes by its SHA-1, with its keys and arguments."""
    wire = Wire([1])
    assert await settle(on(wire)) == ([1], False)
    assert wire.sent == [[b"EVALSHA", COMMIT.sha, b"2", b"room:A", b"k2", b"first"]]


async def test_a_lost_answer_is_asked_for() -> None:
    """After a loss the repetition's arguments are sent, and the reply is said to be a repetition's."""
    wire = Wire(LOST, LOST, [0, b"x"])
    assert await settle(on(wire)) == ([0, b"x"], True)
    assert [command[-1] for command in wire.sent] == [b"first", b"again", b"again"]
    assert wire.pauses == [0.005, 0.01]


async def test_it_is_asked_for_five_times() -> None:
    """What makes the server close each connection is given up after five attempts, with pauses that grow."""
    wire = Wire(LOST)
    error = await failure(settle(on(wire)))
    assert type(error) is OutcomeUnknownError
    assert error.__cause__ is LOST.reason
    assert len(wire.sent) == 5
    assert wire.pauses == [0.005, 0.01, 0.02, 0.04]


async def test_what_was_never_sent_did_not_happen() -> None:
    """Where there is no connection to be had, nothing is tried again, and nothing happened."""
    wire = Wire(REFUSED)
    assert type(await failure(settle(on(wire)))) is StoreUnavailableError
    assert len(wire.sent) == 1


async def test_a_server_that_is_away_is_waited_for() -> None:
    """After a loss, refused connections are borne until there is an answer; no pause is longer than 0.25 s."""
    wire = Wire(LOST, *[REFUSED] * 9, [1])
    assert await settle(on(wire)) == ([1], True)
    assert wire.pauses == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25, 0.25, 0.25]


async def test_it_ends_in_time() -> None:
    """No pause is begun that would end after the deadline; then the outcome is unknown."""
    wire = Wire(LOST, REFUSED)
    assert type(await failure(settle(on(wire), seconds=0.03))) is OutcomeUnknownError
    assert wire.pauses == [0.005, 0.01]


async def test_a_server_that_can_not_serve_yet_is_waited_for() -> None:
    """A repetition that the server refuses for now is made again; one that it refuses for good leaves it unknown."""
    wire = Wire(LOST, LOADING, LOADING, [1])
    assert await settle(on(wire)) == ([1], True)
    assert wire.pauses == [0.005, 0.01, 0.02]
    for refusal in (WRONG, DENIED):
        wire = Wire(LOST, refusal, [1])
        error = await failure(settle(on(wire)))
        assert type(error) is OutcomeUnknownError
        assert error.__cause__ is refusal
        assert len(wire.sent) == 2


async def test_a_first_refusal_is_final() -> None:
    """What the server refuses at once did not happen, unless it was refused within the script."""
    for refusal, kind in ((LOADING, StoreUnavailableError), (WRONG, StoreError), (DENIED, OutcomeUnknownError)):
        wire = Wire(refusal, [1])
        assert type(await failure(settle(on(wire)))) is kind
        assert len(wire.sent) == 1


async def test_a_forgotten_script_is_sent_whole() -> None:
    """Where the server does not know a script by its SHA-1, its source follows, with the same keys and arguments."""
    wire = Wire(NOSCRIPT, [1])
    assert await settle(on(wire)) == ([1], False)
    tail = [b"2", b"room:A", b"k2", b"first"]
    assert wire.sent == [[b"EVALSHA", COMMIT.sha, *tail], [b"EVAL", COMMIT.source, *tail]]
    assert wire.deadlines[0] == wire.deadlines[1]


async def mend(commands: CommandExecutor) -> Any:
    """Send one command that nobody waits for."""
    (reply,) = await commands.write_idempotent([(b"SREM", b"room:A")], commands.deadline())
    return reply


CALLS: dict[str, tuple[Callable[[CommandExecutor], Awaitable[Any]], int, type[StoreError]]] = {
    "read": (lambda commands: commands.read(b"GET", b"room:A"), 5, StoreUnavailableError),
    "write": (lambda commands: commands.write(b"DEL", b"room:A"), 1, OutcomeUnknownError),
    "a script": (lambda commands: commands.run_script(COMMIT, [b"room:A"]), 1, OutcomeUnknownError),
    "a reading script": (lambda commands: commands.run_script(COUNT, [b"room:A"]), 5, StoreUnavailableError),
    "what nobody waits for": (mend, 5, StoreUnavailableError),
}
READING = {"read", "a reading script"}


@pytest.mark.parametrize("name", CALLS)
async def test_a_command_says_where_it_belongs(name: str) -> None:
    """Each command is sent with the key that it is about, and says whether it writes: a script also when sent whole."""
    wire = Wire(NOSCRIPT, 7) if "script" in name else Wire(7)
    assert await CALLS[name][0](on(wire)) == 7
    assert set(wire.keys) == {b"room:A"}
    assert set(wire.writes) == {name not in READING}


def test_a_fork_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands know whether this is the process in which they were made."""
    commands = on(Wire(7))
    assert not commands.forked
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert commands.forked


@pytest.mark.parametrize("is_sharded", [True, False])
def test_what_the_route_knows_of_keys_is_passed_on(*, is_sharded: bool) -> None:
    """Commands say of their route whether keys may lie on different servers, and which place answers for a key."""
    wire = Wire(7)
    wire.is_sharded = is_sharded
    assert on(wire).is_sharded is is_sharded
    assert on(wire).server_epoch(b"room:A") == b"room:A"


async def test_commands_of_one_call_are_sent_together() -> None:
    """Several commands of one call are sent at once, end when their caller says, and are answered in their order."""
    wire = Wire(1, 2, 3)
    first, second = [(b"SREM", b"k1"), (b"SREM", b"k2"), (b"SREM", b"k3")], [(b"GET", b"k1"), (b"GET", b"k2")]
    assert await on(wire).write_idempotent(first, 5.0) == [1, 2, 3]
    assert wire.sent == [list(command) for command in first]
    assert wire.keys == [b"k1", b"k2", b"k3"]
    assert wire.deadlines == [5.0] * 3
    assert await on(Wire(1, 2)).read_many(second) == [1, 2]


@pytest.mark.parametrize("call", [settle, CALLS["read"][0]], ids=["settle", "read"])
async def test_each_repetition_is_counted(call: Callable[[CommandExecutor], Awaitable[Any]]) -> None:
    """Each command that is sent again is a retry, and no first one is."""
    commands = on(Wire(LOST, LOST, 7))
    await call(commands)
    assert commands.statistics.retries == 2


@pytest.mark.parametrize(("call", "attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_what_may_be_repeated_is(
    call: Callable[[CommandExecutor], Awaitable[Any]], attempts: int, kind: type[StoreError]
) -> None:
    """After a loss, only what changes nothing when it is repeated is sent again; a write may have happened."""
    wire = Wire(LOST)
    assert type(await failure(call(on(wire)))) is kind
    assert len(wire.sent) == attempts
    if attempts > 1:
        assert await call(on(Wire(LOST, LOST, LOST, LOST, 7))) == 7


async def test_a_script_that_may_be_repeated_is_settled() -> None:
    """After a loss it is sent again, the same, while the server is away; what is refused then may have happened."""
    wire = Wire(LOST, REFUSED, LOADING, 7)
    assert await acquire(on(wire)) == 7
    assert wire.sent == [[b"EVALSHA", ACQUIRE.sha, b"1", b"room:A", b"c1"]] * 4
    assert wire.pauses == [0.005, 0.01, 0.02]
    for answers, attempts in ((LOST,), 5), ((LOST, WRONG), 2):
        wire = Wire(*answers)
        assert type(await failure(acquire(on(wire)))) is OutcomeUnknownError
        assert len(wire.sent) == attempts


@pytest.mark.parametrize("call", [settle, acquire])
async def test_a_close_between_attempts_leaves_it_unknown(call: Callable[[CommandExecutor], Awaitable[Any]]) -> None:
    """Where the store is closed before the server could be asked again, it may have happened; before the first, not."""
    wire = Wire(LOST, StoreClosedError())
    error = await failure(call(on(wire)))
    assert type(error) is OutcomeUnknownError
    assert type(error.__cause__) is StoreClosedError
    assert wire.pauses == [0.005]
    with pytest.raises(StoreClosedError):
        await call(on(Wire(StoreClosedError())))


@pytest.mark.parametrize(("call", "_attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_silence_is_not_repeated(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, kind: type[StoreError]
) -> None:
    """What got no answer in time is not sent again: there is no time left."""
    wire = Wire(SILENT, 7)
    expected = StoreTimeoutError if kind is StoreUnavailableError else kind
    assert type(await failure(call(on(wire)))) is expected
    assert len(wire.sent) == 1


@pytest.mark.parametrize(("call", "_attempts", "kind"), CALLS.values(), ids=CALLS)
async def test_no_connection_is_not_repeated(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, kind: type[StoreError]
) -> None:
    """Where there is no connection to be had, nothing happened; after a loss, a write may have."""
    wire = Wire(REFUSED, 7)
    assert type(await failure(call(on(wire)))) is StoreUnavailableError
    assert len(wire.sent) == 1
    if _attempts > 1:
        wire = Wire(LOST, REFUSED, 7)
        assert type(await failure(call(on(wire)))) is kind
        assert len(wire.sent) == 2


@pytest.mark.parametrize(("call", "_attempts", "_kind"), CALLS.values(), ids=CALLS)
async def test_a_refusal_is_an_error(
    call: Callable[[CommandExecutor], Awaitable[Any]], _attempts: int, _kind: type[StoreError]
) -> None:
    """What the server refuses is an error of the call, at once."""
    wire = Wire(WRONG, 7)
    assert type(await failure(call(on(wire)))) is StoreError
    assert len(wire.sent) == 1


async def test_a_script_that_is_refused_within_may_have_written() -> None:
    """What is refused inside a script that writes leaves the outcome unknown; inside one that reads, or alone, not."""
    assert type(await failure(on(Wire(DENIED)).run_script(COMMIT, [b"room:A"]))) is OutcomeUnknownError
    for call in (on(Wire(DENIED)).run_script(COUNT, [b"room:A"]), on(Wire(DENIED)).write(b"DEL", b"room:A")):
        assert type(await failure(call)) is ConfigurationError


async def test_a_call_has_its_time() -> None:
    """A call ends ten seconds after it began, or when its caller says."""
    wire = Wire(None)
    commands, end = on(wire), now() + 10
    await commands.read(b"GET", b"room:A", deadline=end - 7)
    await commands.read(b"GET", b"room:A")
    await commands.write(b"DEL", b"room:A")
    await commands.run_script(COUNT, [b"room:A"])
    await commands.read_many([(b"GET", b"room:A"), (b"PTTL", b"room:A")])
    assert wire.deadlines == [end - 7, *[end] * 5]
    assert commands.deadline() == end


async def test_a_command_without_a_key_names_none() -> None:
    """An error about a command that is about no key names none."""
    with pytest.raises(StoreUnavailableError) as caught:
        await on(Wire(REFUSED)).read(b"PING")
    assert "key" not in str(caught.value)


async def test_what_met_a_connection_attempt_that_hung_is_sent_again() -> None:
    """A command that was not sent, because an attempt to connect hung, is no repetition when it is sent at last."""
    wire = Wire(HUNG, HUNG, [1])
    assert await settle(on(wire)) == ([1], False)
    assert [command[-1] for command in wire.sent] == [b"first"] * 3
    assert wire.pauses == [0.005, 0.01]
    for answers in ([HUNG, b"x"], [HUNG, HUNG, HUNG, HUNG, HUNG, HUNG, b"x"]):
        assert await on(Wire(*answers)).read(b"GET", b"room:A") == b"x"


async def test_a_sharded_publication_goes_by_a_script() -> None:
    """On a cluster a publication is a script with a key, sent once; where the key is on its way, the plain command."""
    wire = Wire(NOSCRIPT, 1)
    await on(wire).publish(b"room:A", b"events:{room:A}", b"{}")
    words = [b"1", b"room:A", b"events:{room:A}", b"{}"]
    assert wire.sent == [[b"EVALSHA", PUBLISH.sha, *words], [b"EVAL", PUBLISH.source, *words]]
    assert wire.keys == [b"room:A"] * 2
    assert wire.on_ask == [b"*3\r\n$8\r\nSPUBLISH\r\n$15\r\nevents:{room:A}\r\n$2\r\n{}\r\n"] * 2
    assert wire.writes == [True, True]
    wire = Wire(LOST)  # it may have been heard
    assert type(await failure(on(wire).publish(b"room:A", b"room:A", b"{}"))) is OutcomeUnknownError
    assert len(wire.sent) == 1
