"""Opening a store by its URL. Installed backends are found by the URL scheme."""

from __future__ import annotations

import os
import re
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from wnc_store.clock import Clock, SystemClock
from wnc_store.errors import ConfigurationError
from wnc_store.protocols import Backend, Store
from wnc_store.records.secret import Secret
from wnc_store.settings import StoreSettings

_GROUP = "wnc_store.backends"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")


def configured_url() -> str:
    """Return the value of `WNC_STORE_URL`, or of `REDIS_URL` if that is not set, or `memory://`."""
    return os.environ.get("WNC_STORE_URL") or os.environ.get("REDIS_URL") or "memory://"


def open_store(url: str | None = None, *, settings: StoreSettings | None = None, clock: Clock | None = None) -> Store:
    """Open the store that a URL names. The store connects on first use. Close it with `async with` or `aclose()`.

    Args:
        url: `memory://`, `redis://host:6379/0`, `valkey://host:6379/0`, `unix:///path?db=0`, a URL of another scheme
            of the Redis backend, or of another installed backend. By default the result of `configured_url()`.
        settings: Settings of the store. By default `StoreSettings.from_environment()`.
        clock: Clock for timestamps and, in the memory backend, for TTLs. By default `SystemClock()`. A server measures
            TTLs by its own clock.

    Raises:
        ConfigurationError: No installed backend has this scheme, the entry point of the backend is broken, or the URL
            or an environment variable is invalid.
        ImportError: A package that the backend requires is missing. The message names the extra to install.
    """
    url = Secret(configured_url() if url is None else url)
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    backend = cast("Backend", load_entry(_find_backend(scheme), "backend"))
    return backend(
        Secret(scheme + url[len(scheme) :]), settings or StoreSettings.from_environment(), clock or SystemClock()
    )


def load_entry(entry: EntryPoint, what: str) -> object:
    """Load the object that an entry point names.

    Args:
        entry: The entry point.
        what: Kind of the object for the error message, for example "backend".

    Raises:
        ConfigurationError: The module exists but does not define the object.
        ImportError: The module, or a module that it imports, is not installed.
    """
    message = f"can't load the {what} for {entry.name}:// from its entry point {entry.value!r}"
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        raise ImportError(f"{message}: {error}", name=error.name) from error
    except AttributeError as error:
        raise ConfigurationError(f"{message}: {error}") from error


def _find_backend(scheme: str) -> EntryPoint:
    installed = {entry.name: entry for entry in entry_points(group=_GROUP)}
    if scheme in installed:
        return installed[scheme]
    # The message does not contain the URL, or what only looks like a scheme, because it may contain a password.
    is_scheme = _SCHEME.fullmatch(scheme)
    problem = (
        f"no backend for {scheme}:// is installed" if is_scheme else "a store URL must start with a scheme and ://"
    )
    backends: dict[str, list[EntryPoint]] = {}
    for _, entry in sorted(installed.items()):
        backends.setdefault(entry.value, []).append(entry)
    choices = "; ".join(map(_describe, backends.values())) or "none"
    message = f"{problem}: use one of {choices}; or install the package that provides the backend"
    raise ConfigurationError(message)


def _describe(entries: list[EntryPoint]) -> str:
    """Return the schemes of a backend, and the extra that it needs."""
    schemes = ", ".join(f"{entry.name}://" for entry in entries)
    first = entries[0]
    if not first.extras or first.dist is None:
        return schemes
    return f"{schemes} (extra: {first.dist.name}[{','.join(first.extras)}])"
