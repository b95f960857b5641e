"""Options in the query of a URL: their types and values."""

from __future__ import annotations

import codecs
import functools
import inspect
import re
import ssl
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Pairs = Iterable[tuple[str, str]]
"""Names and values in the query of a URL."""

_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
"""Names that an error may contain. Anything else may be part of a password."""


class InvalidUrlError(ValueError):
    """Raised when a URL is invalid. The message contains no part of the URL except names of options."""


class _Option(NamedTuple):
    """An option.

    Attributes:
        parse: converts the value. Raises LookupError, ValueError or ssl.SSLError if the value is invalid.
        expected: description of the valid values.
    """

    parse: Callable[[str], object]
    expected: str


def parse_options(pairs: Pairs, receiver: type, prefix: str = "", *, is_tls: bool = False) -> dict[str, Any]:
    """Return options as arguments of a class of redis-py.

    Args:
        pairs: names and values.
        receiver: the class that receives the options.
        prefix: the start of each name, which the class does not receive.
        is_tls: whether the scheme selects TLS, which only an option with a prefix can turn off.

    Raises:
        InvalidUrlError: an option is unknown or given twice, its value is invalid or contradicts the scheme, or it
            needs another option.
    """
    accepted = _parameters(receiver) | {"max_connections"}
    options: dict[str, Any] = {}
    for full_name, value in pairs:
        name = full_name.removeprefix(prefix)
        if name not in _OPTIONS or name not in accepted:
            raise InvalidUrlError(_unknown(full_name, name, has_tls="ssl_certfile" in accepted))
        if name in options:
            message = f"the option {full_name} is given twice"
            raise InvalidUrlError(message)
        parse, expected = _OPTIONS[name]
        try:
            options[name] = parse(value) if value else None
        except (LookupError, ValueError, ssl.SSLError):
            options[name] = None
        if options[name] is None:
            message = f"the option {full_name} must be {expected}"
            raise InvalidUrlError(message)
    if is_tls and not options.setdefault("ssl", True) and not prefix:
        message = "the option ssl=false contradicts this scheme, which uses TLS"
        raise InvalidUrlError(message)
    if "ssl" in accepted and not options.get("ssl") and any(name.startswith("ssl_") for name in options):
        message = f"options for TLS need the option {prefix}ssl=true"
        raise InvalidUrlError(message)
    return options


def _unknown(full_name: str, name: str, *, has_tls: bool) -> str:
    if not _OPTION_NAME.fullmatch(full_name):
        return "it has an unknown option"
    hint = "; TLS needs rediss://" if name in _OPTIONS and name.startswith("ssl") and not has_tls else ""
    return f"it has the option {full_name}, which this scheme does not have{hint}"


@functools.cache
def _parameters(kind: type) -> frozenset[str]:
    """Return the names of the arguments of a class and its base classes."""
    return frozenset(name for base in kind.__mro__ for name in inspect.signature(base.__init__).parameters)


def _flag(value: str) -> bool:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]


def _at_least(minimum: float, convert: Callable[[str], float] = int) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = convert(value)
        if not minimum <= number < float("inf"):
            raise ValueError
        return number

    return parse


def _encoding(value: str) -> str:
    return codecs.lookup(value).name


def _client_name(value: str) -> str:
    if not all("!" <= character <= "~" for character in value):
        raise ValueError
    return value


def _tls_version(value: str) -> ssl.TLSVersion:
    return ssl.TLSVersion(int(value))


def _ciphers(value: str) -> str:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(value)
    return value


def _verify_flags(value: str) -> list[ssl.VerifyFlags]:
    return [ssl.VerifyFlags[flag.strip()] for flag in value.strip("[]").split(",")]


_TEXT = _Option(str, "set to a text")
_FILE = _Option(str, "the path of a file")
_FLAG = _Option(_flag, "true or false")
_SECONDS = _Option(_at_least(0.001, float), "a number of seconds, at least 0.001")
_POSITIVE = _Option(_at_least(1), "an integer, at least 1")
_VERIFY_FLAGS = _Option(_verify_flags, "names of Python's ssl.VerifyFlags, separated by commas")

_OPTIONS = {
    "db": _Option(_at_least(0), "the number of a database"),
    "username": _TEXT,
    "password": _TEXT,
    "client_name": _Option(_client_name, "printable ASCII characters without spaces"),
    "lib_name": _TEXT,
    "lib_version": _TEXT,
    "protocol": _Option({"2": 2, "3": 3}.__getitem__, "2 or 3"),
    "legacy_responses": _FLAG,
    "decode_responses": _FLAG,
    "encoding": _Option(_encoding, "the name of a text encoding of Python"),
    "encoding_errors": _Option(
        {name: name for name in ("strict", "ignore", "replace")}.__getitem__, "strict, ignore or replace"
    ),
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _FLAG,
    "socket_read_size": _POSITIVE,
    "health_check_interval": _Option(_at_least(0, float), "a number of seconds"),
    "retry_on_timeout": _FLAG,
    "max_connections": _POSITIVE,
    "ssl": _FLAG,
    "ssl_keyfile": _FILE,
    "ssl_certfile": _FILE,
    "ssl_password": _TEXT,
    "ssl_ca_certs": _FILE,
    "ssl_ca_path": _Option(str, "the path of a folder"),
    "ssl_ca_data": _Option(str, "certificates in PEM format"),
    "ssl_cert_reqs": _Option(
        {name: name for name in ("required", "optional", "none")}.__getitem__, "required, optional or none"
    ),
    "ssl_check_hostname": _FLAG,
    "ssl_min_version": _Option(_tls_version, "771 (TLS 1.2) or 772 (TLS 1.3)"),
    "ssl_ciphers": _Option(_ciphers, "a list of ciphers that OpenSSL knows"),
    "ssl_include_verify_flags": _VERIFY_FLAGS,
    "ssl_exclude_verify_flags": _VERIFY_FLAGS,
}
