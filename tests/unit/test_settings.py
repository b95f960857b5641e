"""Settings and URLs: what the environment says, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import ValidationError

from wnc_store import ConfigurationError, ManualClock, StoreSettings, factory, get_store, open_store
from wnc_store.factory import configured_url
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"


def test_the_defaults_are_the_originals() -> None:
    """Without settings rooms and chats live for 24 hours and 20 messages are kept."""
    settings = StoreSettings()
    assert settings.room_ttl == settings.chat_ttl == timedelta(hours=24)
    assert settings.chat_history_limit == 20
    assert settings.key_prefix == ""


def test_the_environment_sets_them() -> None:
    """Each setting has a variable; durations are seconds, ISO 8601 or clock times; an empty variable is none."""
    environment = {
        "WNC_STORE_ROOM_TTL": "90.5",
        "WNC_STORE_CHAT_TTL": "PT1H",
        "WNC_STORE_OPERATION_TIMEOUT": "00:00:02",
        "WNC_STORE_CHAT_HISTORY_LIMIT": "50",
        "WNC_STORE_KEY_PREFIX": "",
    }
    settings = StoreSettings.from_environment(environment)
    assert settings.room_ttl == timedelta(seconds=90, milliseconds=500)
    assert settings.chat_ttl == timedelta(hours=1)
    assert settings.operation_timeout == timedelta(seconds=2)
    assert settings.chat_history_limit == 50
    assert settings.key_prefix == ""


def test_the_node_apps_variables_are_read() -> None:
    """The limits of connections and hits, and the window, have the Node app's variables, too; its window is in ms."""
    environment = {
        "RATE_LIMIT_MAX_REQUESTS": "100",
        "RATE_LIMIT_WINDOW_MS": "1500",
        "RATE_LIMIT_SOCKET_MAX_PER_IP": "3",
    }
    settings = StoreSettings.from_environment(environment)
    assert settings.rate_limit_max == 100
    assert settings.connection_limit == 3
    assert settings.rate_limit_window == timedelta(milliseconds=1500)
    ours = {"WNC_STORE_RATE_LIMIT_MAX": "5", "WNC_STORE_RATE_LIMIT_WINDOW": "2"}
    settings = StoreSettings.from_environment({**environment, **ours})
    assert settings.rate_limit_max == 5
    assert settings.rate_limit_window == timedelta(seconds=2)


def test_a_wrong_variable_of_the_node_app_is_named() -> None:
    """A wrong variable of the Node app is named as it is, without its value."""
    with pytest.raises(ConfigurationError, match="RATE_LIMIT_WINDOW_MS"):
        StoreSettings.from_environment({"RATE_LIMIT_WINDOW_MS": "soon"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ROOM_TTL", "soon"),
        ("ROOM_TTL", "0"),
        ("ROOM_TTL", "-5"),
        ("ROOM_TTL", "1e400"),
        ("CHAT_TTL", "0.0001"),
        ("CHAT_HISTORY_LIMIT", "0"),
        ("KEY_PREFIX", "app*"),
        ("KEY_PREFIX", "app:\n"),
        ("KEY_PREFIX", "app:room:"),
        ("RATE_LIMIT_WINDOW", "1e15"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """A variable that holds what its setting can't be is a ConfigurationError that names it, without its value."""
    with pytest.raises(ConfigurationError, match=f"WNC_STORE_{name}") as caught:
        StoreSettings.from_environment({f"WNC_STORE_{name}": value})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_durations_are_whole_milliseconds() -> None:
    """A duration is cut to whole milliseconds, and one of less than one is refused."""
    assert StoreSettings(room_ttl=timedelta(microseconds=1999)).room_ttl == timedelta(milliseconds=1)
    with pytest.raises(ValidationError):
        StoreSettings(room_ttl=timedelta(microseconds=999))


def test_an_unknown_setting_is_refused() -> None:
    """A setting that does not exist is refused."""
    with pytest.raises(ValidationError):
        StoreSettings(romm_ttl=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_memory_is_the_default() -> None:
    """Without any configuration the store is in memory."""
    assert configured_url() == "memory://"
    async with open_store() as store:
        assert isinstance(store, MemoryStore)


async def test_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """WNC_STORE_URL names the store, else REDIS_URL, and an argument wins over both."""
    monkeypatch.setenv("REDIS_URL", "redis://redis-url")
    assert configured_url() == "redis://redis-url"
    monkeypatch.setenv("WNC_STORE_URL", "redis://wnc-store-url")
    assert configured_url() == "redis://wnc-store-url"
    async with open_store() as store, open_store("memory://") as other:
        assert isinstance(store, RedisStore)
        assert isinstance(other, MemoryStore)


async def test_the_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_store takes the settings of the environment, unless it is given some."""
    monkeypatch.setenv("WNC_STORE_CHAT_HISTORY_LIMIT", "wrong")
    with pytest.raises(ConfigurationError, match="CHAT_HISTORY_LIMIT"):
        open_store("memory://")
    async with open_store("memory://", settings=StoreSettings()) as store:
        await store.ping()


@pytest.mark.parametrize("url", [f"postgres://u:{SECRET}@host/db", f"{SECRET}", "", "redis:/host", "://"])
def test_an_unknown_scheme_is_refused(url: str) -> None:
    """A URL of an unknown scheme is a ConfigurationError that lists the installed ones, and the extra they need."""
    with pytest.raises(ConfigurationError, match=r"memory://.*redis://.*wnc-store\[redis\]") as caught:
        open_store(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@host:port/0",
        f"redis://:{SECRET}@host/0?max_connections=x",
        f"redis://:{SECRET}@host/abc",
        f"redis://:{SECRET}@host/0?nonsense=1",
        f"redis://:[{SECRET}]@host",
        f"redis://:{SECRET}℀@host",
    ],
)
def test_a_wrong_redis_url_keeps_its_password(url: str) -> None:
    """A wrong Redis URL is a ConfigurationError that shows how one looks, and nothing of this one."""
    with pytest.raises(ConfigurationError, match="redis://user:password@host:6379/0") as caught:
        open_store(url)
    assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_memory_takes_no_more_than_its_scheme() -> None:
    """Something behind memory:// is a ConfigurationError, not silence."""
    with pytest.raises(ConfigurationError, match=r"^the URL of the memory backend must be exactly memory://$"):
        open_store("memory://somewhere")


def test_one_store_per_event_loop() -> None:
    """get_store returns one store per event loop, and a new one when that is closed."""

    async def ask() -> MemoryStore:
        first, second = get_store(), get_store()
        assert first is second
        await first.aclose()
        third = get_store()
        assert third is not first
        assert isinstance(third, MemoryStore)
        return third

    assert asyncio.run(ask()) is not asyncio.run(ask())


def test_a_shared_store_needs_a_loop() -> None:
    """get_store without a running event loop is a RuntimeError."""
    with pytest.raises(RuntimeError):
        get_store()


def test_a_manual_clock_moves_only_forward() -> None:
    """A ManualClock moves by timedeltas or seconds, in whole milliseconds, and not back."""
    clock = ManualClock()
    start = clock.now_ms()
    clock.advance(1.5)
    clock.advance(timedelta(milliseconds=2, microseconds=999))
    assert clock.monotonic_ms() == 1502
    assert clock.now_ms() == start + 1502
    with pytest.raises(ValueError, match="negative"):
        clock.advance(-1)


def test_shared_stores_of_ended_loops_are_forgotten() -> None:
    """get_store keeps no event loop alive that has been closed."""

    async def ask() -> None:
        await get_store().ping()

    for _ in range(5):
        asyncio.run(ask())
    assert len(factory._shared) <= 1


async def test_a_scheme_may_be_written_large() -> None:
    """The scheme of a URL may be in capitals."""
    async with open_store("MEMORY://") as store:
        await store.ping()
