"""What the driver and the server say, in the library's errors."""

from __future__ import annotations

import asyncio

from redis import exceptions as driver

from wnc_store import (
    ConfigurationError,
    CorruptRecordError,
    OutcomeUnknownError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
)

# The first word of the server's error -> what to do. It refused the command as a whole, so nothing happened.
_CANNOT_SERVE_NOW = {
    "LOADING": "it is loading its data: try again soon",
    "BUSY": "a script of someone else's is running too long: end it with SCRIPT KILL",
    "OOM": "it is out of memory: raise maxmemory, or let rooms expire",
    "MISCONF": "it can't save to disk: look into its log",
    "READONLY": "it is a replica: connect to the master",
    "NOREPLICAS": "too few replicas are connected",
    "MASTERDOWN": "it is a replica without a master",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "its slots are moving: try again",
}
_WRONG_CREDENTIALS = {"WRONGPASS", "NOAUTH", "NOPERM", "DENIED"}


def translate(error: BaseException, *, where: str, key: str, sent: bool) -> StoreError:
    """Return the error to raise for a driver's, with a cause that holds no argument of a command.

    Args:
        error: what the driver raised or the server answered.
        where: host and port, or the path of the socket.
        key: the key that the command was about; "" if it was about none.
        sent: whether a write may have reached the server without an answer.
    """
    server = f"Redis at {where}"
    about = f" (key {key!r})" if key else ""
    if isinstance(error, driver.ResponseError):
        found = _answered(error, server, about, key)
    else:
        found = _failed(error, server, about, sent=sent)
    found.__cause__ = _without_arguments(error)
    return found


def _answered(error: driver.ResponseError, server: str, about: str, key: str) -> StoreError:
    code = _code(error)
    if code == "WRONGTYPE":
        return CorruptRecordError(key, "the key, or the index of active rooms, holds another type of value")
    if code in _WRONG_CREDENTIALS:
        return ConfigurationError(
            f"{server} refused the command{about} with {code}: check the user and its permissions"
        )
    if code in _CANNOT_SERVE_NOW:
        return StoreUnavailableError(f"{server} can't serve now{about}, {code}: {_CANNOT_SERVE_NOW[code]}")
    return StoreError(f"{server} refused the command{about} with {code}; nothing happened")


def _failed(error: BaseException, server: str, about: str, *, sent: bool) -> StoreError:
    if isinstance(error, driver.AuthenticationError | driver.AuthorizationError):
        return ConfigurationError(f"{server} refused the credentials: check user and password in the URL")
    if isinstance(error, driver.BusyLoadingError):
        return StoreUnavailableError(f"{server} can't serve now{about}, LOADING: {_CANNOT_SERVE_NOW['LOADING']}")
    if isinstance(error, driver.DataError):
        return StoreError(f"the driver refused the command to {server}{about}; nothing was sent")
    if sent:
        return OutcomeUnknownError(
            f"the connection to {server} failed{about} after a write was sent: it may or may not have happened; read "
            "before you try again"
        )
    if isinstance(error, driver.TimeoutError | asyncio.TimeoutError):
        return StoreTimeoutError(f"{server} did not answer in time{about}: check the server and the network")
    # Whatever else comes out of the driver is a dead connection: on some Python versions even an AttributeError.
    return StoreUnavailableError(f"{server} can't be reached{about}: is it running, and is the URL right?")


def _code(error: driver.ResponseError) -> str:
    """Return the first word of the server's error; redis-py cuts it off where it has an exception of its own."""
    for kind, code in (
        (driver.NoPermissionError, "NOPERM"),
        (driver.ReadOnlyError, "READONLY"),
        (driver.OutOfMemoryError, "OOM"),
        (driver.ClusterDownError, "CLUSTERDOWN"),
        (driver.MasterDownError, "MASTERDOWN"),
        (driver.TryAgainError, "TRYAGAIN"),
        (driver.NoScriptError, "NOSCRIPT"),
        (driver.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
    ):
        if isinstance(error, kind):
            return code
    first, _, _ = str(error).partition(" ")
    return first if first.isupper() and first.isalpha() else "ERR"


def _without_arguments(error: BaseException) -> BaseException:
    """Return the cause to keep: an "unknown command" answer repeats the arguments, and they may hold a host token."""
    text, found, _ = str(error).partition(", with args")
    return type(error)(text) if found else error
