"""What the driver and the server say, in the library's errors."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator

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
_CHECK_USER = "check the user and its permissions"
_USE_CLUSTER = "it is a member of a cluster, and the key is another's: use redis+cluster://"
_MISCONFIGURED = {
    **dict.fromkeys(("WRONGPASS", "NOAUTH", "NOPERM", "DENIED"), _CHECK_USER),
    **dict.fromkeys(("MOVED", "ASK"), _USE_CLUSTER),
}
_REFUSED_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")
"""Up to Redis 7.0, where the code is ERR, and from 7.2 on."""

_TOO_OLD = "has no sharded channels: events on a cluster need Redis 7.0 or newer"
# What the server says, with its backquotes made straight -> what that means.
_UNFIT = {
    "DB index is out of range": "has no database of that number: look at the end of the URL",
    "cluster support disabled": "is no cluster: use redis://",
    "acl_check_cmd": _TOO_OLD,
    "unknown command 'SPUBLISH'": _TOO_OLD,
    "unknown command 'SSUBSCRIBE'": _TOO_OLD,
}

_OUR_CERTIFICATE = "name a certificate that the server trusts in the URL, ?ssl_certfile=...&ssl_keyfile=..."
# What OpenSSL says -> what to do; the first that fits.
_TLS_FAILED = {
    "mismatch, certificate is not valid": "connect by a name that the certificate holds",
    "certificate has expired": "renew it, or set the clock of this machine",
    "certificate is not yet valid": "set the clock of this machine",
    "certificate verify failed": "name the CA that signed it in the URL, ?ssl_ca_certs=/path/ca.pem",
    "key values mismatch": "let ssl_keyfile in the URL be the key of ssl_certfile",
    "alert certificate": _OUR_CERTIFICATE,
    "alert bad certificate": _OUR_CERTIFICATE,
    "alert unknown ca": _OUR_CERTIFICATE,
    "alert handshake failure": _OUR_CERTIFICATE,
}
_TLS_OTHERWISE = "check that the port speaks TLS, and the files that the URL names"
_OPENSSL = re.compile(r"\[(?:SSL|X509)\b[^]]*\] ([^(]+)")
_NONE_LEFT = {"Too many connections", "No connection available."}
_FULL = "max number of clients"
_CLOSED = ("closed by server", "reset by peer")


class UnknownServiceError(Exception):
    """Raised when the Sentinels know no service of the name."""


class NotReplicatedError(Exception):
    """Raised when a write is on the master, and not known to be on all of its replicas."""


def to_store_error(
    error: BaseException, *, where: str, key: str, unanswered: bool = False, in_script: bool = False
) -> StoreError:
    """Return the error to raise for a driver's, with a cause that holds no argument of a command.

    Args:
        error: what the driver raised or the server answered.
        where: host and port, or the path of the socket.
        key: the key that the command was about; "" if it was about none.
        unanswered: whether a write, or an earlier attempt at it, may have reached the server and got no answer.
        in_script: whether the answer is a writing script's.
    """
    server = f"Redis at {where}"
    about = f" (key {key!r})" if key else ""
    if unanswered and isinstance(error, NotReplicatedError):
        found = OutcomeUnknownError(
            f"the write is on {server}{about}, but {error}: a failover may lose it; read before you try again"
        )
    elif unanswered:
        found = OutcomeUnknownError(
            f"the connection to {server} failed{about} after a write was sent: it may or may not have happened; read "
            "before you try again"
        )
    elif isinstance(error, driver.ResponseError):
        found = _from_reply(error, server, about, key, in_script=in_script)
    else:
        found = _from_exception(error, server, about)
    found.__cause__ = _without_arguments(error)
    return found


def is_retryable(error: driver.ResponseError) -> bool:
    """Tell whether the server refused a command only for now."""
    return code_of(error) in _CANNOT_SERVE_NOW


def _from_reply(error: driver.ResponseError, server: str, about: str, key: str, *, in_script: bool) -> StoreError:
    code = code_of(error)
    unfit = next((why for sign, why in _UNFIT.items() if sign in str(error).replace("`", "'")), None)
    if unfit is not None:
        return ConfigurationError(f"{server} {unfit}")
    if code == "WRONGTYPE":
        return CorruptRecordError(key, "the key, or the index of active rooms, holds a value of another kind")
    if in_script and any(sign in str(error) for sign in _REFUSED_IN_SCRIPT):
        return OutcomeUnknownError(
            f"{server} refused a command inside a script{about} with NOPERM, and what the script did before stays: "
            "give the user every permission that the store needs"
        )
    if any(sign in str(error) for sign in _REFUSED_IN_SCRIPT):
        code = "NOPERM"
    if code in _MISCONFIGURED:
        return ConfigurationError(f"{server} refused the command{about} with {code}: {_MISCONFIGURED[code]}")
    if code in _CANNOT_SERVE_NOW:
        return StoreUnavailableError(f"{server} can't serve now{about}, {code}: {_CANNOT_SERVE_NOW[code]}")
    return StoreError(f"{server} refused the command{about} with {code}; nothing happened")


def _from_exception(error: BaseException, server: str, about: str) -> StoreError:
    if isinstance(error, driver.AuthenticationError | driver.AuthorizationError):
        return ConfigurationError(f"{server} refused the credentials: check user and password in the URL")
    if isinstance(error, UnknownServiceError):
        return ConfigurationError(f"there is no {server}: check the name of the service in the URL")
    if isinstance(error, driver.BusyLoadingError):
        return StoreUnavailableError(f"{server} can't serve now{about}, LOADING: {_CANNOT_SERVE_NOW['LOADING']}")
    if isinstance(error, driver.DataError):
        return StoreError(f"the driver refused the command to {server}{about}; nothing was sent")
    if isinstance(error, driver.TimeoutError | asyncio.TimeoutError):
        return StoreTimeoutError(f"{server} did not answer in time{about}: check the server and the network")
    # Whatever else comes out of the driver is a dead connection: on some Python versions even an AttributeError.
    return StoreUnavailableError(f"{server} can't be reached{about}: {_explain(error)}")


def _explain(error: BaseException) -> str:
    """Return what kept us from the server, and what to do."""
    for link in _chain(error):
        text = str(link)
        said = _OPENSSL.search(text)
        if said is not None or isinstance(link, ssl.SSLError):
            reason = said[1].strip(" .") if said is not None else "TLS failed"
            advice = (todo for sign, todo in _TLS_FAILED.items() if sign in reason)
            return f"{reason}: {next(advice, _TLS_OTHERWISE)}"
        if isinstance(link, driver.MaxConnectionsError) or text in _NONE_LEFT:
            return "the client's pool has no connection left, and events need one of their own: raise max_connections"
        if _FULL in text:
            return "it has as many clients as it takes: raise its maxclients, or close some"
        if isinstance(link, FileNotFoundError):
            return "a file is missing, the server's socket or a certificate that the URL names"
        if isinstance(link, ConnectionResetError | BrokenPipeError) or any(sign in text for sign in _CLOSED):
            return (
                "it closed the connection: does it want TLS (rediss://), or a client certificate (?ssl_certfile=...)? "
                "Or has it as many clients as its maxclients allows?"
            )
    return "is it running, and is the URL right?"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from, down to the system's or OpenSSL's; behind that is the caller's."""
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = None if isinstance(link, OSError) else link.__cause__ or link.__context__


def code_of(error: driver.ResponseError) -> str:
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
