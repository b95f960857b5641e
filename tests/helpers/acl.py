"""Redis users with the permissions that docs/redis-acl.md documents, parsed from the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

from redis_server import RedisServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "redis-acl.md"
PLAIN, PREFIXED = (line.split() for line in re.findall(r"^ACL SETUSER (.+)$", PAGE.read_text(), re.MULTILINE))
"""The arguments of the two documented commands: the name of the user, then the permissions."""
GRANTS = [word for word in PLAIN if word[0] in "~&+"]
DOCUMENTED_PREFIX = "app:"


def words(key_prefix: str = "") -> list[str]:
    """Return the arguments for a key prefix."""
    if not key_prefix:
        return PLAIN
    name, *permissions = PREFIXED
    patterns = {word: word.replace(DOCUMENTED_PREFIX, key_prefix, 1) for word in permissions if word[0] in "~&"}
    return [f"{name}-{key_prefix}", *(patterns.get(word, word) for word in permissions)]


def permit(server: RedisServer, key_prefix: str = "", *more: str, without: str = "") -> str:
    """Create the user for a key prefix, with additional arguments or without one, and return its URL."""
    line = [word for word in words(key_prefix) if word != without]
    plain: Any = Redis(unix_socket_path=str(server.socket))
    with plain as administrator:
        administrator.execute_command("ACL", "SETUSER", *line, *more)
    return url_for(server, key_prefix)


def url_for(server: RedisServer, key_prefix: str = "") -> str:
    """Return the URL of the user for a key prefix."""
    name, *permissions = words(key_prefix)
    password = next(word[1:] for word in permissions if word.startswith(">"))
    return server.url.replace("://", f"://{quote(name, safe='')}:{quote(password, safe='')}@")
