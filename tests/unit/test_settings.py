"""Settings, environment variables and URLs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from wnc_store import ConfigurationError, ManualClock, StoreSettings, open_store
from wnc_store.factory import configured_url
from wnc_store_memory import MemoryStore
from wnc_store_redis import RedisStore

SECRET = "SECRET-9f1c"


def test_the_defaults_are_those_of_the_node_app() -> None:
    """By default, rooms and chats expire after 24 hours and 20 messages are kept."""
    settings = StoreSettings()
    assert settings.room_ttl == settings.chat_ttl == timedelta(hours=24)
    assert settings.chat_history_limit == 20
    assert settings.key_prefix == ""


def test_the_environment_sets_them() -> None:
    """Each setting has a variable. Durations are seconds, ISO 8601 or clock times. Empty variables are ignored."""
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
    """The Node app's variables set the limits of connections and hits, and the window in milliseconds."""
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WNC_STORE_ROOM_TTL", "soon"),
        ("WNC_STORE_ROOM_TTL", "0"),
        ("WNC_STORE_ROOM_TTL", "-5"),
        ("WNC_STORE_ROOM_TTL", "1e400"),
        ("WNC_STORE_CHAT_TTL", "0.0001"),
        ("WNC_STORE_CHAT_HISTORY_LIMIT", "0"),
        ("WNC_STORE_KEY_PREFIX", "app*"),
        ("WNC_STORE_KEY_PREFIX", "app:\n"),
        ("WNC_STORE_KEY_PREFIX", "app:room:"),
        ("WNC_STORE_KEY_PREFIX", "app:room:1:"),
        ("WNC_STORE_KEY_PREFIX", "app:events:"),
        ("WNC_STORE_RATE_LIMIT_WINDOW", "1e15"),
        ("RATE_LIMIT_WINDOW_MS", "soon"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    """An invalid variable raises ConfigurationError with its name and without a cause that contains the value."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        StoreSettings.from_environment({name: value})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("WNC_STORE_ROOM_TTL", "(durations are in seconds, for example 86400)"),
        ("WNC_STORE_EMPTY_ROOM_TTL", "(durations are in seconds, for example 86400)"),
        ("RATE_LIMIT_WINDOW_MS", "(RATE_LIMIT_WINDOW_MS is in milliseconds, for example 60000)"),
        ("WNC_STORE_PUBLISH_CHANGES", None),
    ],
)
def test_only_an_invalid_duration_has_a_hint_about_its_unit(name: str, hint: str | None) -> None:
    """The error about an invalid duration ends with its unit, and that about another setting does not."""
    with pytest.raises(ConfigurationError) as caught:
        StoreSettings.from_environment({name: "yep"})
    assert str(caught.value).endswith(hint) if hint else "for example" not in str(caught.value)


def test_durations_are_whole_milliseconds() -> None:
    """A duration is truncated to whole milliseconds, and a duration below 1 ms is rejected."""
    assert StoreSettings(room_ttl=timedelta(microseconds=1999)).room_ttl == timedelta(milliseconds=1)
    with pytest.raises(ConfigurationError, match=r"invalid setting room_ttl: .*at least 1 millisecond"):
        StoreSettings(room_ttl=timedelta(microseconds=999))


def test_an_unknown_setting_is_rejected() -> None:
    """An unknown setting raises an error that names the similar setting."""
    with pytest.raises(ConfigurationError, match="'romm_ttl' is not a setting of StoreSettings: use 'room_ttl'"):
        StoreSettings(romm_ttl=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def test_memory_is_the_default() -> None:
    """Without configuration the store is a MemoryStore."""
    assert configured_url() == "memory://"
    async with open_store() as store:
        assert isinstance(store, MemoryStore)


async def test_the_url_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is the argument, else WNC_STORE_URL, else REDIS_URL. Its scheme is case-insensitive."""
    monkeypatch.setenv("REDIS_URL", "redis://redis-url")
    assert configured_url() == "redis://redis-url"
    monkeypatch.setenv("WNC_STORE_URL", "redis://wnc-store-url")
    assert configured_url() == "redis://wnc-store-url"
    async with open_store() as store, open_store("MEMORY://") as other:
        assert isinstance(store, RedisStore)
        assert isinstance(other, MemoryStore)


async def test_the_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_store reads settings from the environment unless they are passed."""
    monkeypatch.setenv("WNC_STORE_CHAT_HISTORY_LIMIT", "wrong")
    with pytest.raises(ConfigurationError, match="CHAT_HISTORY_LIMIT"):
        open_store("memory://")
    async with open_store("memory://", settings=StoreSettings()) as store:
        await store.ping()


@pytest.mark.parametrize("url", [f"mysql://u:{SECRET}@host/db", f"{SECRET}", "", "redis:/host", "://"])
def test_an_unknown_scheme_is_rejected(url: str) -> None:
    """An unknown scheme raises ConfigurationError with the installed schemes and their extras."""
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
def test_an_error_does_not_contain_the_url(url: str) -> None:
    """An invalid Redis URL raises ConfigurationError with an example and without any part of the URL."""
    with pytest.raises(ConfigurationError, match="redis://user:password@host:6379/0") as caught:
        open_store(url)
    assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


def test_a_memory_url_is_only_the_scheme() -> None:
    """A URL with more than memory:// raises ConfigurationError."""
    with pytest.raises(ConfigurationError, match=r"^the URL of the memory backend must be exactly memory://$"):
        open_store("memory://somewhere")


def test_a_manual_clock_moves_only_forward() -> None:
    """ManualClock advances by timedeltas or seconds in whole milliseconds and rejects negative values."""
    clock = ManualClock()
    start = clock.now_ms()
    clock.advance(1.5)
    clock.advance(timedelta(milliseconds=2, microseconds=999))
    assert clock.monotonic_ms() == 1502
    assert clock.now_ms() == start + 1502
    with pytest.raises(ValueError, match="negative"):
        clock.advance(-1)
