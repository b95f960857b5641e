"""Translation of errors of redis-py and the server into errors of the library."""

from __future__ import annotations

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
from wnc_store_redis.transport.product import REDIS, Product
from wnc_store_redis.transport.replies import UnexpectedReplyError

CANNOT_SERVE_NOW = {
    "LOADING": "the server is loading its data; try again soon",
    "BUSY": "another script is running for too long; end it with SCRIPT KILL",
    "OOM": "the server is out of memory; raise maxmemory, or let rooms expire",
    "MISCONF": "the server cannot save to disk; read its log",
    "READONLY": "the server is a replica; connect to the master",
    "NOREPLICAS": "too few replicas are connected",
    "MASTERDOWN": "the server is a replica that is not connected to its master",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "a slot is migrating; try again",
}
"""Temporary error code -> explanation and hint. The server rejected the whole command, so nothing happened."""

EXPIRED = "EXPIRED"
"""Error code of a script that the server received too late. Nothing happened."""

_CHECK_USER = "check the user and its permissions"
_USE_CLUSTER = "the server is a node of a cluster; use redis+cluster://, or a RedisCluster client"
_MISCONFIGURED = {
    **dict.fromkeys(("WRONGPASS", "NOAUTH", "NOPERM", "DENIED"), _CHECK_USER),
    **dict.fromkeys(("MOVED", "ASK", "CROSSSLOT"), _USE_CLUSTER),
}
_DENIED_IN_SCRIPT = ("The user executing the script can't", "ACL failure in script")
"""Texts of a denied command inside a script: up to Redis 7.0, where the code is ERR, and since 7.2."""

_INSIDE_SCRIPT = "@user_script"
"""Text of an error that a command inside a script raised. The server appends the position in the script."""
_DENIED_BEFORE_SCRIPT = re.compile(r"cannot run (\w+)")
"""Text of `lua/prelude.lua` for a command that the server lacks or denies."""

_TOO_OLD = "does not support sharded channels; events on a cluster need Redis 7.0 or newer, or Valkey"
# Part of the server's message, with backquotes replaced by apostrophes -> explanation.
_UNSUPPORTED = {
    "DB index is out of range": "does not have the database at the end of the URL",
    "SELECT is not allowed in cluster mode": "is a node of a cluster, which has only database 0; use redis+cluster://",
    "cluster support disabled": "is not a cluster; use redis://",
    "unknown command 'CLUSTER'": "is not a cluster; use redis://",
    "unknown command 'SENTINEL'": "is not a Sentinel; use redis://",
    **dict.fromkeys(
        ("unknown command 'GET'", "unknown command 'SELECT'", "unknown command 'EVALSHA'"),
        "lacks commands that the store needs; if it is a Sentinel, use redis+sentinel://",
    ),
    "Client names cannot contain": "rejected the client_name; it must not contain spaces or special characters",
    "unknown command 'SPUBLISH'": _TOO_OLD,
    "unknown command 'SSUBSCRIBE'": _TOO_OLD,
}

_GRANT_KILL = (
    ". The store repeats writes only if the server permits CLIENT INFO and CLIENT KILL; grant them to the user"
)

_CLIENT_CERTIFICATE = "name a certificate that the server trusts in the URL, ?ssl_certfile=...&ssl_keyfile=..."
# Part of OpenSSL's message -> hint. The first match applies.
_TLS_HINTS = {
    "mismatch, certificate is not valid": "connect to a host name that the certificate contains",
    "certificate has expired": "renew it, or set the clock of this machine",
    "certificate is not yet valid": "set the clock of this machine",
    "certificate verify failed": "name the CA that signed it in the URL, ?ssl_ca_certs=/path/ca.pem",
    "key values mismatch": "set ssl_keyfile in the URL to the key of ssl_certfile",
    "alert certificate": _CLIENT_CERTIFICATE,
    "alert bad certificate": _CLIENT_CERTIFICATE,
    "alert unknown ca": _CLIENT_CERTIFICATE,
    "alert handshake failure": _CLIENT_CERTIFICATE,
}
OVER_TLS = " over TLS"
"""The end of an endpoint that is used over TLS. A server without TLS does not answer a handshake."""

_TLS_DEFAULT_HINT = "check that the port accepts TLS, and check the files that the URL names"
_OPENSSL = re.compile(r"\[(?:SSL|X509)\b[^]]*\] ([^(]+)")
_MAX_CLIENTS = "max number of clients"
_CONNECTION_CLOSED = ("closed by server", "reset by peer")


class UnknownServiceError(Exception):
    """Raised when the Sentinels do not monitor a service of this name."""


class UnfencedError(ConnectionError):
    """Raised when commands of a lost connection may still run, so that a write must not be repeated."""


class NotReplicatedError(Exception):
    """Raised when a write is applied on the master, but not confirmed by all of its replicas."""


def to_store_error(  # noqa: PLR0913 - the error and its circumstances
    error: BaseException,
    *,
    endpoint: str,
    key: str,
    unanswered: bool = False,
    in_script: bool = False,
    product: Product = REDIS,
) -> StoreError:
    """Return the library's error for an error of the driver. Its cause contains no arguments and no local variables.

    Args:
        error: the exception of the driver, or the error that the server replied.
        endpoint: host and port, or the path of the socket.
        key: the key of the command; "" if it has none.
        unanswered: whether a write, or an earlier attempt of it, may have reached the server without a reply.
        in_script: whether the error is the reply to a script that writes.
        product: the product that the URL names. The message contains its name and its schemes.
    """
    server = f"{product.name} at {endpoint}"
    about = f" (key {key!r})" if key else ""
    if unanswered and isinstance(error, NotReplicatedError):
        translated = OutcomeUnknownError(
            f"{server} has applied the write{about}, but {error}: a failover may lose it; read before you try again"
        )
    elif unanswered:
        hint = _GRANT_KILL if isinstance(error, UnfencedError) else ""
        translated = OutcomeUnknownError(
            f"the connection to {server} failed{about} after a write was sent: the write may or may not have happened; "
            f"read before you try again{hint}"
        )
    elif isinstance(error, driver.ResponseError) and code_of(error) == EXPIRED:
        translated = StoreTimeoutError(f"{server} received the write too late{about}; check the server and the network")
    elif isinstance(error, driver.ResponseError):
        translated = _from_reply(error, server, about, key, product, in_script=in_script)
    else:
        translated = _from_exception(error, server, about, product)
    translated.__cause__ = _without_arguments(error)
    return translated


def _from_reply(  # noqa: PLR0913 - the error and its circumstances
    error: driver.ResponseError, server: str, about: str, key: str, product: Product, *, in_script: bool
) -> StoreError:
    code = code_of(error)
    message = str(error).replace("`", "'")
    unsupported = next((reason for part, reason in _UNSUPPORTED.items() if part in message), None)
    denied = _DENIED_BEFORE_SCRIPT.search(message)
    if denied is not None:
        unsupported = f"does not run {denied[1]} for this user{about} (NOPERM); grant it, and do not rename it"
    if unsupported is not None:
        return ConfigurationError(f"{server} {product.localize(unsupported)}")
    if code == "WRONGTYPE":
        return CorruptRecordError(key, "the key, or the index of active rooms, has a value of another type")
    is_denied_in_script = any(part in message for part in _DENIED_IN_SCRIPT)
    if is_denied_in_script:
        code = "NOPERM"
    if in_script and code not in CANNOT_SERVE_NOW and (is_denied_in_script or _INSIDE_SCRIPT in message):
        return OutcomeUnknownError(
            f"{server} rejected a command inside a script{about} with {code}, and earlier writes of the script may "
            "remain; grant the user every permission that the store needs, and do not rename commands"
        )
    if code in _MISCONFIGURED:
        hint = product.localize(_MISCONFIGURED[code])
        return ConfigurationError(f"{server} rejected the command{about} with {code}: {hint}")
    if code in CANNOT_SERVE_NOW:
        return StoreUnavailableError(f"{server} cannot serve requests now{about}, {code}: {CANNOT_SERVE_NOW[code]}")
    return StoreError(f"{server} rejected the command{about} with {code}; nothing happened")


def _from_exception(error: BaseException, server: str, about: str, product: Product) -> StoreError:  # noqa: PLR0911 - one for each kind
    if isinstance(error, driver.AuthenticationError | driver.AuthorizationError):
        return ConfigurationError(f"{server} rejected the credentials; check the user and the password in the URL")
    if isinstance(error, UnknownServiceError):
        return ConfigurationError(f"{server} was not found; check the name of the service in the URL")
    if isinstance(error, driver.BusyLoadingError):
        return StoreUnavailableError(
            f"{server} cannot serve requests now{about}, LOADING: {CANNOT_SERVE_NOW['LOADING']}"
        )
    if isinstance(error, UnexpectedReplyError):
        return StoreUnavailableError(
            f"{server} sent a reply of an unexpected type{about}, and the connection was closed; "
            "check that the URL names Redis or Valkey, and check the proxies in between"
        )
    if isinstance(error, driver.DataError):
        return StoreError(f"redis-py rejected the command to {server}{about}; nothing was sent")
    if isinstance(error, driver.TimeoutError) or is_deadline(error):
        port = ", and that the port accepts TLS" if server.endswith(OVER_TLS) else ""
        return StoreTimeoutError(f"{server} did not reply in time{about}; check the server and the network{port}")
    # Every other exception of the driver means a lost connection. On some Python versions it is an AttributeError.
    return StoreUnavailableError(f"{server} cannot be reached{about}: {product.localize(_explain(error))}")


def _explain(error: BaseException) -> str:
    """Return why a connection failed, and a hint."""
    for cause in _chain(error):
        text = str(cause)
        openssl = _OPENSSL.search(text)
        if openssl is not None or isinstance(cause, ssl.SSLError):
            reason = openssl[1].strip(" .") if openssl is not None else "TLS failed"
            hints = (hint for part, hint in _TLS_HINTS.items() if part in reason)
            return f"{reason}: {next(hints, _TLS_DEFAULT_HINT)}"
        if _MAX_CLIENTS in text:
            return "the server has reached its maxclients; raise the limit, or close connections"
        if isinstance(cause, FileNotFoundError):
            return "a file does not exist: the server's socket, or a certificate that the URL names"
        if isinstance(cause, ConnectionResetError | BrokenPipeError) or any(
            part in text for part in _CONNECTION_CLOSED
        ):
            return (
                "the server closed the connection; it may require TLS (rediss://) or a client certificate "
                "(?ssl_certfile=...), or it has reached its maxclients"
            )
    return "check that the server is running, and check the URL"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, up to the error of the system or OpenSSL. Later ones belong to the caller."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = None if isinstance(cause, OSError) else cause.__cause__ or cause.__context__


def is_deadline(error: BaseException) -> bool:
    """Return whether a deadline has passed. The TimeoutError of the system has an errno: the connection was lost."""
    return isinstance(error, TimeoutError) and error.errno is None


def code_of(error: driver.ResponseError) -> str:
    """Return the error code of the server. redis-py removes it from the text of its exception subclasses."""
    for error_class, code in (
        (driver.NoPermissionError, "NOPERM"),
        (driver.ReadOnlyError, "READONLY"),
        (driver.OutOfMemoryError, "OOM"),
        (driver.ClusterDownError, "CLUSTERDOWN"),
        (driver.MasterDownError, "MASTERDOWN"),
        (driver.TryAgainError, "TRYAGAIN"),
        (driver.NoScriptError, "NOSCRIPT"),
        (driver.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
    ):
        if isinstance(error, error_class):
            return code
    first, _, _ = str(error).partition(" ")
    return first if first.isupper() and first.isalpha() else "ERR"


def _without_arguments(error: BaseException) -> BaseException:
    """Remove what may contain a secret: the arguments in an "unknown command" error, and the frames of the driver.

    While redis-py authenticates, the password is a local variable, which some tools record with the traceback.
    """
    text, separator, _ = str(error).partition(", with args")
    if separator:
        return type(error)(text)
    for link in _chain(error):
        if isinstance(link, driver.RedisError | OSError):
            link.__traceback__ = None
    return error
