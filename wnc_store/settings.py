"""What can be set, and how the environment sets it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from wnc_store.errors import ConfigurationError
from wnc_store.records.codec import format_validation_errors

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = timedelta(days=36500)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_ENVIRONMENT_PREFIX = "WNC_STORE_"

_OF_THE_NODE_APP = {
    "connection_limit": "RATE_LIMIT_SOCKET_MAX_PER_IP",
    "rate_limit_max": "RATE_LIMIT_MAX_REQUESTS",
    "rate_limit_window": "RATE_LIMIT_WINDOW_MS",
}


def _seconds(value: object) -> object:
    """Read "86400" as seconds: pydantic reads only clock times and ISO 8601 durations from strings."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return value
    try:
        return timedelta(seconds=float(value))
    except OverflowError:
        message = "that is longer than a duration can be"
        raise ValueError(message) from None


def _whole_milliseconds(value: timedelta) -> timedelta:
    if value < _MILLISECOND:
        message = "a duration is at least one millisecond"
        raise ValueError(message)
    if value > _LONGEST:
        message = "a duration is at most 36500 days"
        raise ValueError(message)
    return value - value % _MILLISECOND


def _own_namespace(prefix: str) -> str:
    if prefix.endswith(("room:", "chat:", "rl:", "connections:")):
        message = "a prefix that ends like a key's name would mix its keys with those of a shorter prefix"
        raise ValueError(message)
    return prefix


Duration = Annotated[timedelta, BeforeValidator(_seconds), AfterValidator(_whole_milliseconds)]
"""A timedelta from a millisecond to a century, in whole milliseconds. A number, also as a string, is seconds."""


class StoreSettings(BaseModel):
    """The settings of a store, the same for every backend.

    Attributes:
        room_ttl: how long a room lives after its last write.
        chat_ttl: how long a room's chat lives after its last message.
        chat_history_limit: how many messages of a room are kept.
        connection_ttl: how long a connection's lease lasts unless it is renewed.
        connection_limit: how many connections of one client `wnc_store.starlette.ConnectionGuard` lets in.
        rate_limit_max: how many hits a window allows.
        rate_limit_window: how long a window is.
        limits_on_unavailable: what connections and rate limits do while the server is away: "raise", or count in this
            process's "memory" until it is back. Rooms and chat always raise.
        max_message_length: of a chat message's text, in characters.
        max_name_length: of the name of a user or a host, in characters.
        max_url_length: of a video's URL, in characters.
        max_users_per_room: how many may be in a room at the same time.
        max_room_bytes: of a room as it is stored.
        cache_bytes: how many bytes of stored records a backend on a server may remember with what it read them as, to
            parse only what has changed; 0 for none. In memory they take several times as much.
        key_prefix: goes before every key, so that several apps can share one database.
        publish_changes: whether the store publishes its own changes as events (`wnc_store.RoomEvents`).
        notify_external_changes: whether subscriptions are told of changes by other writers, the Node app for one, where
            the server has that switched on.
        events_queue_size: how many events wait for a slow reader.
        max_event_bytes: of an event as it is sent.
        operation_timeout: how long one operation may take before it raises `StoreTimeoutError`; when rooms are listed
            or swept, one page of them.
        durability: when a write counts as done, on a server that has replicas: when the master has "acknowledged" it,
            or when it is "replicated" to all of them, so that a failover can't lose it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    room_ttl: Duration = timedelta(hours=24)
    chat_ttl: Duration = timedelta(hours=24)
    chat_history_limit: int = Field(default=20, ge=1)
    connection_ttl: Duration = timedelta(hours=1)
    connection_limit: int = Field(default=10, ge=1)
    rate_limit_max: int = Field(default=360, ge=1)
    rate_limit_window: Duration = timedelta(seconds=60)
    limits_on_unavailable: Literal["raise", "memory"] = "raise"
    max_message_length: int = Field(default=10_000, ge=1)
    max_name_length: int = Field(default=256, ge=1)
    max_url_length: int = Field(default=8192, ge=1)
    max_users_per_room: int = Field(default=10_000, ge=1)
    max_room_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    cache_bytes: int = Field(default=16 * 1024 * 1024, ge=0)
    key_prefix: Annotated[str, AfterValidator(_own_namespace)] = Field(default="", pattern=r"^[A-Za-z0-9_.:-]{0,64}$")
    publish_changes: bool = False
    notify_external_changes: bool = False
    events_queue_size: int = Field(default=1000, ge=1)
    max_event_bytes: int = Field(default=64 * 1024, ge=1024)
    operation_timeout: Duration = timedelta(seconds=5)
    durability: Literal["acknowledged", "replicated"] = "acknowledged"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> StoreSettings:
        """Return the settings that `WNC_STORE_ROOM_TTL`, `WNC_STORE_CHAT_HISTORY_LIMIT`, ... ask for.

        Three have a name that the Node app reads, too: `RATE_LIMIT_SOCKET_MAX_PER_IP`, `RATE_LIMIT_MAX_REQUESTS` and
        `RATE_LIMIT_WINDOW_MS`, in milliseconds. Ours win over these.

        Args:
            environment: `os.environ` if left out. Variables that are not there or empty leave the default.

        Raises:
            ConfigurationError: a variable holds what its setting can't be.
        """
        given = os.environ if environment is None else environment
        variables = {name: _variable(name, given) for name in cls.model_fields}
        values = {name: _value(variable, given) for name, variable in variables.items() if given.get(variable)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = ", ".join(variables[str(detail["loc"][0])] for detail in error.errors())
            hint = "a duration is seconds, say 86400"
            message = f"the environment variable {wrong} is wrong: {format_validation_errors(error)} ({hint})"
        raise ConfigurationError(message)


def _variable(name: str, environment: Mapping[str, str]) -> str:
    """Return the variable that sets a setting: ours, else the Node app's."""
    ours = f"{_ENVIRONMENT_PREFIX}{name.upper()}"
    return ours if environment.get(ours) else _OF_THE_NODE_APP.get(name, ours)


def _value(variable: str, environment: Mapping[str, str]) -> str | timedelta:
    value = environment[variable]
    if variable.endswith("_MS"):
        try:
            return timedelta(milliseconds=float(value))
        except (ValueError, OverflowError):
            return value
    return value
