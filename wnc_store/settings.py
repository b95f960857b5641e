"""Settings of a store, and their environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from wnc_store.errors import ConfigurationError
from wnc_store.records.codec import format_validation_errors
from wnc_store.records.record import suggest_name

_MILLISECOND = timedelta(milliseconds=1)
_MAX_DURATION = timedelta(days=36500)
_SECONDS = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_ENVIRONMENT_PREFIX = "WNC_STORE_"

_NODE_APP_VARIABLES = {
    "connection_limit": "RATE_LIMIT_SOCKET_MAX_PER_IP",
    "rate_limit_max": "RATE_LIMIT_MAX_REQUESTS",
    "rate_limit_window": "RATE_LIMIT_WINDOW_MS",
}


def _parse_seconds(value: object) -> object:
    """Convert a string such as "86400" to seconds. pydantic accepts only clock times and ISO 8601 durations."""
    if not isinstance(value, str) or not _SECONDS.fullmatch(value):
        return value
    try:
        return timedelta(seconds=float(value))
    except OverflowError:
        raise ValueError("the duration must be at most 36500 days") from None


def check_duration(name: str, value: object) -> timedelta:
    """Return a duration, truncated to whole milliseconds.

    Args:
        name: The name of the value in error messages.
        value: The duration.

    Raises:
        TypeError: The value is not a `timedelta`.
        ValueError: The duration is shorter than 1 ms or longer than 36500 days.
    """
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, got {value!r}")
    if value < _MILLISECOND:
        raise ValueError(f"{name} must be at least 1 millisecond, got {value.total_seconds()} seconds")
    if value > _MAX_DURATION:
        raise ValueError(f"{name} must be at most 36500 days, got {value.days} days")
    return value - value % _MILLISECOND


def _to_whole_milliseconds(value: timedelta) -> timedelta:
    return check_duration("the duration", value)


def _check_prefix(prefix: str) -> str:
    for name in ("room:", "chat:", "rl:", "connections:", "events:"):
        if name in prefix:
            message = f"the prefix must not contain {name!r}: its keys could collide with those of a shorter prefix"
            raise ValueError(message)
    return prefix


def _to_optional_milliseconds(value: timedelta | None) -> timedelta | None:
    return None if value is None else _to_whole_milliseconds(value)


Duration = Annotated[timedelta, BeforeValidator(_parse_seconds), AfterValidator(_to_whole_milliseconds)]
"""A timedelta from 1 ms to 36500 days, truncated to whole milliseconds. A number or numeric string is in seconds."""


OptionalDuration = Annotated[
    timedelta | None, BeforeValidator(_parse_seconds), AfterValidator(_to_optional_milliseconds)
]
"""As `Duration`, or None."""


class StoreSettings(BaseModel):
    """Settings of a store, the same for every backend.

    Durations are of type `timedelta`, from 1 ms to 36500 days, truncated to whole milliseconds. A number, or a string
    that contains a number, is a duration in seconds. Lengths are counted in characters. Sizes are counted in bytes of
    UTF-8 encoded JSON.

    Attributes:
        room_ttl: Time from the last write of a room until it expires.
        chat_ttl: Time from the last message of a chat until it expires.
        empty_room_ttl: Time for which a room that its last user has left waits for users, with its chat. None deletes
            the room and its chat at once, as the Node app does. Use the same value in all processes.
        chat_history_limit: Number of messages kept per room.
        chat_order: Order in which a backend that shares its data with a Node app stores the messages of a chat.
            "oldest_first" is the order of the Node app (RPUSH), "newest_first" that of its successor (LPUSH). All apps
            that use the same chats must agree. The store returns the oldest message first in both cases.
        connection_ttl: Duration of a connection's lease, unless `acquire` sets a `ttl`. Acquiring the connection again
            renews the lease.
        connection_limit: Largest number of connections per client in `wnc_store.starlette.ConnectionGuard`.
        ipv6_prefix: Length of a network prefix in bits. `wnc_store.starlette` counts all IPv6 addresses of one network
            as one client.
        rate_limit_max: Largest number of hits per window.
        rate_limit_window: Duration of a rate limit window.
        limits_on_unavailable: Behaviour of connections and rate limits while the server is unavailable. "raise" raises
            `StoreUnavailableError`. "memory" counts in the memory of this process until the server is available again.
            Rooms and chats always raise.
        max_message_length: Largest length of the text of a chat message.
        max_name_length: Largest length of the name of a user or host.
        max_url_length: Largest length of a video URL.
        max_users_per_room: Largest number of users in a room.
        max_room_bytes: Largest size of a stored room.
        cache_bytes: Size of the cache of decoded records in a backend with a server, counted in bytes of their JSON.
            The decoded records take several times as much memory. 0 disables the cache.
        key_prefix: Prefix of every key, so that several apps can share a database. 0-64 characters of
            `A-Z a-z 0-9 _ - . :`, without `room:`, `chat:`, `rl:`, `connections:` and `events:`, which begin keys.
        publish_changes: Whether the store publishes an event for each change that it makes (`wnc_store.RoomEvents`).
        notify_external_changes: Whether subscribers receive events for changes by other clients that publish no events,
            such as the Node app. Every server must have keyspace notifications enabled.
        events_queue_size: Largest number of events that wait for a slow subscriber.
        max_event_bytes: Largest size of a published event.
        operation_timeout: Time after which an operation raises `StoreTimeoutError`. When rooms are listed or swept, the
            timeout applies to each page.
        durability: When a write counts as done on a server with replicas. "acknowledged": the master has executed it.
            "replicated": all replicas have confirmed it, so that a failover can't lose it.

    Raises:
        ConfigurationError: A setting is unknown, or a value is invalid. The message names the setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    room_ttl: Duration = timedelta(hours=24)
    chat_ttl: Duration = timedelta(hours=24)
    empty_room_ttl: OptionalDuration = None
    chat_history_limit: int = Field(default=20, ge=1)
    chat_order: Literal["oldest_first", "newest_first"] = "oldest_first"
    connection_ttl: Duration = timedelta(hours=1)
    connection_limit: int = Field(default=10, ge=1)
    ipv6_prefix: int = Field(default=64, ge=1, le=128)
    rate_limit_max: int = Field(default=360, ge=1)
    rate_limit_window: Duration = timedelta(seconds=60)
    limits_on_unavailable: Literal["raise", "memory"] = "raise"
    max_message_length: int = Field(default=10_000, ge=1)
    max_name_length: int = Field(default=256, ge=1)
    max_url_length: int = Field(default=8192, ge=1)
    max_users_per_room: int = Field(default=10_000, ge=1)
    max_room_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    cache_bytes: int = Field(default=16 * 1024 * 1024, ge=0)
    key_prefix: Annotated[str, AfterValidator(_check_prefix)] = Field(default="", pattern=r"^[A-Za-z0-9_.:-]{0,64}$")
    publish_changes: bool = False
    notify_external_changes: bool = False
    events_queue_size: int = Field(default=1000, ge=1)
    max_event_bytes: int = Field(default=64 * 1024, ge=1024)
    operation_timeout: Duration = timedelta(seconds=5)
    durability: Literal["acknowledged", "replicated"] = "acknowledged"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> StoreSettings:
        """Return settings from the environment variables `WNC_STORE_ROOM_TTL`, `WNC_STORE_CHAT_HISTORY_LIMIT`, ...

        The name of a variable is `WNC_STORE_` and the name of the setting in upper case. For three settings, a variable
        of the Node app is read if the variable of this library is not set: `RATE_LIMIT_SOCKET_MAX_PER_IP` for
        `connection_limit`, `RATE_LIMIT_MAX_REQUESTS` for `rate_limit_max`, and `RATE_LIMIT_WINDOW_MS`, in milliseconds,
        for `rate_limit_window`.

        Args:
            environment: Environment variables, by default `os.environ`. If a variable is missing or empty, the setting
                has its default.

        Raises:
            ConfigurationError: The value of a variable is invalid. The message names the variable.
        """
        environment = os.environ if environment is None else environment
        variables = {name: _variable(name, environment) for name in cls.model_fields}
        values = {
            name: _value(variable, environment) for name, variable in variables.items() if environment.get(variable)
        }
        labels = {name: f"environment variable {variable}" for name, variable in variables.items()}
        return cls.model_validate(values, context=labels)

    @model_validator(mode="wrap")
    @classmethod
    def _raise_configuration_error(
        cls, values: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        """Raise `ConfigurationError`. The context of the validation may contain a label for each setting."""
        try:
            return handler(values)
        except ValidationError as error:
            message = _describe(cls, error, info.context or {})
        raise ConfigurationError(message)  # outside the handler, because the ValidationError contains the values


def _describe(kind: type[StoreSettings], error: ValidationError, labels: Mapping[str, str]) -> str:
    """Return what is wrong with settings, without their values."""
    names = [str(detail["loc"][0]) if detail["loc"] else "" for detail in error.errors()]
    for name in names:
        if name and name not in kind.model_fields:
            return f"{name!r} is not a setting of {kind.__name__}: {suggest_name(name, kind.model_fields)}"
    invalid = ", ".join(labels.get(name, f"setting {name}" if name else "settings") for name in names)
    message = f"invalid {invalid}: {format_validation_errors(error)}"
    in_milliseconds = [labels.get(name, "").endswith("_MS") for name in names if name and _is_duration(kind, name)]
    hints = ["durations are in seconds, for example 86400"] if False in in_milliseconds else []
    hints += ["RATE_LIMIT_WINDOW_MS is in milliseconds, for example 60000"] if True in in_milliseconds else []
    return f"{message} ({'; '.join(hints)})" if hints else message


def _is_duration(kind: type[StoreSettings], name: str) -> bool:
    annotation = kind.model_fields[name].annotation
    return timedelta in (annotation, *get_args(annotation))


def _variable(name: str, environment: Mapping[str, str]) -> str:
    """Return the variable that is read for a setting: ours, or the Node app's if ours is not set."""
    ours = f"{_ENVIRONMENT_PREFIX}{name.upper()}"
    return ours if environment.get(ours) else _NODE_APP_VARIABLES.get(name, ours)


def _value(variable: str, environment: Mapping[str, str]) -> str | timedelta:
    value = environment[variable]
    if variable.endswith("_MS"):
        with suppress(ValueError, OverflowError):  # an invalid value is reported by its field
            return timedelta(milliseconds=float(value))
    return value
