"""From a URL to a store: the backends that are installed, found by the URL's scheme."""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from wnc_store.clock import Clock, SystemClock
from wnc_store.errors import ConfigurationError
from wnc_store.protocols import Backend, Store
from wnc_store.settings import StoreSettings

_GROUP = "wnc_store.backends"

_shared: dict[asyncio.AbstractEventLoop, tuple[int, Store]] = {}


def configured_url() -> str:
    """Return what `WNC_STORE_URL`, else `REDIS_URL`, names, else `memory://`."""
    return os.environ.get("WNC_STORE_URL") or os.environ.get("REDIS_URL") or "memory://"


def open_store(url: str | None = None, *, settings: StoreSettings | None = None, clock: Clock | None = None) -> Store:
    """Return the store that a URL names. It connects when it is first used; `async with` closes it.

    Args:
        url: `memory://`, `redis://host:6379/0`, `rediss://...`, `unix:///path?db=0`, or the scheme of another backend
            that is installed. If left out: `WNC_STORE_URL`, else `REDIS_URL`, else `memory://`.
        settings: if left out, from the environment (`StoreSettings.from_environment`).
        clock: if left out, the machine's. The memory backend counts TTLs with it; a server counts with its own.

    Raises:
        ConfigurationError: no backend of that scheme is installed, its entry point names what is not there, or the URL
            or the environment is wrong.
        ImportError: the backend's own packages are missing; the message names the extra to install.
    """
    url = configured_url() if url is None else url
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower() if separator else ""
    backend = cast("Backend", load_entry(_find_backend(scheme), "backend"))
    return backend(f"{scheme}://{rest}", settings or StoreSettings.from_environment(), clock or SystemClock())


def get_store() -> Store:
    """Return the one store that this process and event loop share, opened from the environment when first asked for.

    Whoever shuts the process or loop down closes it; the next call then opens a new one. Prefer to inject a store.

    Raises:
        RuntimeError: no event loop is running.
        ConfigurationError: as `open_store`.
    """
    loop = asyncio.get_running_loop()
    for other, (process, store) in list(_shared.items()):
        if other.is_closed() or store.closed or process != os.getpid():
            del _shared[other]
    if loop not in _shared:
        _shared[loop] = (os.getpid(), open_store())
    return _shared[loop][1]


def load_entry(entry: EntryPoint, what: str) -> object:
    """Return what an entry point names.

    Raises:
        ConfigurationError: its module is there, and lacks it.
        ImportError: its module, or one that it needs, is not there.
    """
    message = f"the {what} for {entry.name}:// can't be loaded (its entry point is {entry.value!r})"
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
    # The URL itself is not shown: it may hold a password.
    problem = f"no backend for {scheme}:// is installed" if scheme else "a store URL begins with its scheme and ://"
    choices = ", ".join(_describe(entry) for _, entry in sorted(installed.items())) or "none"
    message = f"{problem}. Choose one of: {choices}; or install the package that brings the backend you need"
    raise ConfigurationError(message)


def _describe(entry: EntryPoint) -> str:
    if not entry.extras or entry.dist is None:
        return f"{entry.name}://"
    return f"{entry.name}:// (extra: {entry.dist.name}[{','.join(entry.extras)}])"
