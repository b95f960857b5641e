"""Many callers on one connection: what they share, and what each bears alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.exceptions import InvalidResponse

from counting import Counter
from redis_server import redis_server
from wnc_store import (
    CorruptRecordError,
    OutcomeUnknownError,
    Room,
    StoreClosedError,
    StoreError,
    StoreSettings,
    StoreTimeoutError,
)
from wnc_store_contract.samples import message, room, user
from wnc_store_redis import RedisStore
from wnc_store_redis import _multiplexer as multiplexer
from wnc_store_redis._counts import Counts
from wnc_store_redis._link import TransportLink
from wnc_store_redis._multiplexer import MOST_UNANSWERED, HungError, Multiplexer, Unanswered

pytestmark = pytest.mark.usefixtures("room_a")
SHORT = timedelta(milliseconds=400)


async def test_commands_of_one_tick_share_a_write(store: RedisStore, counter: Counter) -> None:
    """A hundred callers in one tick of the event loop are a hundred commands in one write."""
    await asyncio.gather(*(store.rooms.get_room("A") for _ in range(100)))
    counted = await counter.since()
    assert (counted["reads"], counted["get"]) == (1, 100)


async def test_a_bad_key_fails_alone(store: RedisStore, client: Any, counter: Counter) -> None:
    """Among commands that share a write, one that the server refuses fails, and its neighbours do not."""
    await client.rpush("room:bad", "x")
    await counter.start()
    results = await asyncio.gather(*(store.rooms.get_room(name) for name in ("A", "bad", "A")), return_exceptions=True)
    assert (await counter.since())["reads"] == 1
    assert [type(one) for one in results] == [Room, CorruptRecordError, Room]


async def test_an_oversized_command_fails_alone() -> None:
    """A write that is too large for the server closes the connection; its neighbours succeed all the same, once."""
    with redis_server("--proto-max-bulk-len", "1mb", "--maxmemory", "100mb") as server:
        async with RedisStore.from_url(server.url) as store:
            await store.rooms.create_room(room("A"))
            await store.chat.add_message(message(0, "A"))
            large = room("B", video_meta="x" * 2_000_000)
            results = await asyncio.gather(
                store.chat.add_message(message(1, "A")),
                store.rooms.add_user_to_room("A", user("guest")),
                store.rooms.create_room(large),
                store.rooms.get_room("A"),
                store.chat.add_message(message(2, "A")),
                return_exceptions=True,
            )
            assert [one for one in results if isinstance(one, BaseException)] == [results[2]]
            assert isinstance(results[2], StoreError)  # of the kind that fits what was read before the connection went
            assert await store.rooms.get_room("B") is None
            found = await store.rooms.get_room("A")
            assert found is not None
            assert [one.id for one in found.users] == ["host", "guest"]
            assert sorted(one.id for one in await store.chat.get_messages("A")) == ["m0", "m1", "m2"]


async def test_a_slow_server_gets_no_endless_queue(url: str, client: Any, store: RedisStore) -> None:
    """Of many callers on a server that does not answer, a bounded number is sent; all end, and the others for sure."""
    settings = StoreSettings(operation_timeout=SHORT)
    callers = MOST_UNANSWERED + 500
    async with RedisStore.from_url(url, settings) as hasty:
        await hasty.ping()
        await client.client_pause(1500, all=True)
        calls = [hasty.chat.add_message(message(one, f"c{one}")) for one in range(callers)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in results[:MOST_UNANSWERED]] == [OutcomeUnknownError] * MOST_UNANSWERED
        assert [type(one) for one in results[MOST_UNANSWERED:]] == [StoreTimeoutError] * 500
    await client.ping()
    for one in range(MOST_UNANSWERED, callers):
        assert await store.chat.get_messages(f"c{one}") == []


async def test_a_silent_connection_is_given_up(url: str, client: Any) -> None:
    """A connection that was silent for a whole operation_timeout is replaced by the next call."""
    settings = StoreSettings(operation_timeout=SHORT)
    async with RedisStore.from_url(url, settings) as hasty:
        await hasty.ping()
        (before,) = [one["id"] for one in await client.client_list() if one["cmd"] == "ping"]
        await client.client_pause(1200, all=True)
        with pytest.raises(StoreTimeoutError):
            await hasty.rooms.get_room("A")
        await client.ping()
        await hasty.ping()
        assert before not in [one["id"] for one in await client.client_list()]


def test_replies_before_nonsense_are_handed_over() -> None:
    """What a server answered before it sent what is no reply reaches the callers; then the connection is lost."""
    heard: list[Any] = []
    link = TransportLink(Mock(), Mock(), heard.append, heard.append, pushes=False)
    link.data_received(b"+one\r\n+two\r\nnonsense\r\n")
    replies, error = heard
    assert replies == [b"one", b"two"]
    assert isinstance(error, InvalidResponse)


async def test_closing_twice_at_once_waits_for_what_was_sent(url: str, store: RedisStore) -> None:
    """A message that was sent when two tasks close the store is acknowledged, and both get to the end."""
    other = RedisStore.from_url(url)
    await other.ping()
    sent = asyncio.ensure_future(other.chat.add_message(message(7, "A")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.gather(other.aclose(), other.aclose(), sent)
    assert [one.id for one in await store.chat.get_messages("A")] == ["m0", "m7"]


async def test_a_store_takes_one_connection(url: str, client: Any, store: RedisStore) -> None:
    """However many callers there are, a store has one connection."""
    before = len(await client.client_list())
    async with RedisStore.from_url(url) as other:
        await asyncio.gather(*(other.rooms.get_room("A") for _ in range(1000)))
        assert len(await client.client_list()) == before + 1
    assert await store.rooms.room_exists("A")


async def test_a_reply_over_a_connection_given_up_is_nobodys(store: RedisStore) -> None:
    """A reply that arrives just when its connection is given up goes to no command that is sent later."""
    commands: Any = store._commands
    multiplexer = commands._route._server._writes
    link = multiplexer._link
    multiplexer.drop()
    link.data_received(b"$6\r\nstrays\r\n")
    assert await commands.read(b"ECHO", b"mine") == b"mine"


async def test_who_comes_late_to_a_connection_that_hangs_has_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """When an attempt to connect hangs, whoever is out of time is told so, and the others that there may be another."""

    async def hang(*_arguments: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(multiplexer, "open_link", hang)
    made = Multiplexer(Mock(), 0.05, Counts())
    now = asyncio.get_running_loop().time()
    calls = [(made.submit(b"first", now + 0.05), TimeoutError), (made.submit(b"later", now + 60), HungError)]
    for call, reason in calls:
        with pytest.raises(Unanswered) as caught:
            await call
        assert isinstance(caught.value.reason, reason)
        assert not caught.value.sent
    await made.aclose()


@pytest.mark.parametrize("refusal", [ConnectionRefusedError, TimeoutError])
async def test_where_nobody_listens_all_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    """An attempt to connect that fails at once ends for all who wait for it, however much time they have."""
    monkeypatch.setattr(multiplexer, "open_link", AsyncMock(side_effect=refusal))
    made = Multiplexer(Mock(), 60, Counts())
    now = asyncio.get_running_loop().time()
    for waiting in [made.submit(b"one", now + 60), made.submit(b"other", now + 60)]:
        with pytest.raises(Unanswered) as caught:
            await waiting
        assert isinstance(caught.value.reason, refusal)
    await made.aclose()


class SteadyLink:
    """A link that answers when the test says so."""

    def __init__(self) -> None:
        self.answer: Callable[[Sequence[Any]], None] = lambda _: None
        self.written: list[bytes] = []

    async def opened(self, _pool: object, on_replies: Callable[[Sequence[Any]], None], _on_lost: object) -> SteadyLink:
        """See `open_link`."""
        self.answer = on_replies
        return self

    def write(self, batch: Sequence[bytes]) -> None:
        """See `Link.write`."""
        self.written += batch

    async def aclose(self) -> None:
        """See `Link.aclose`."""


async def test_who_would_be_answered_too_late_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """While replies take longer than a command has time, it is told so, unsent; else an overload would never end."""
    link = SteadyLink()
    monkeypatch.setattr(multiplexer, "open_link", link.opened)
    loop = asyncio.get_running_loop()
    moment = loop.time()
    monkeypatch.setattr(loop, "time", lambda: moment)
    made = Multiplexer(Mock(), 60, Counts())

    async def submit(name: bytes, seconds: float) -> asyncio.Future[Any]:
        call = made.submit(name, moment + seconds)
        for _ in range(5):
            await asyncio.sleep(0)
        return call

    calls = [await submit(b"slow", 9), await submit(b"behind", 9)]
    moment += 2
    link.answer([b"slow"])
    late = await submit(b"late", 1)
    calls.append(await submit(b"patient", 3))
    with pytest.raises(Unanswered) as caught:
        await late
    assert (type(caught.value.reason), caught.value.sent) == (TimeoutError, False)
    link.answer([b"behind", b"patient"])
    calls.append(await submit(b"next", 1))  # with nobody before it, it may be in time
    moment += 0.5
    link.answer([b"next"])
    calls += [await submit(b"first", 9), await submit(b"quick", 1)]
    link.answer([b"first", b"quick"])
    assert [call.result() for call in calls] == link.written
    await made.aclose()


async def test_a_connection_that_comes_after_the_close_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is there although its attempt was cancelled by a close is closed at once."""
    link = Mock(aclose=AsyncMock())

    async def deaf(*_arguments: object) -> Any:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return link

    monkeypatch.setattr(multiplexer, "open_link", deaf)
    made = Multiplexer(Mock(), 60, Counts())
    call = made.submit(b"first", asyncio.get_running_loop().time() + 60)
    for _ in range(3):
        await asyncio.sleep(0)
    await made.aclose()
    with pytest.raises(StoreClosedError):
        await call
    link.aclose.assert_awaited_once()
