"""Clients: one of our own from a URL, and what errors call the server of any client."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from wnc_store import ConfigurationError, StoreSettings

_DATABASE = re.compile(r"(/\d*)?")


def connect(url: str, settings: StoreSettings) -> Redis:
    """Return a client for `redis://`, `rediss://` or `unix://`; it connects when it is first used.

    Options in the URL's query go to redis-py (`?ssl_ca_certs=/path&client_name=parties`), and win over ours.

    Raises:
        ConfigurationError: the URL is wrong. The message holds no part of it but the scheme.
    """
    timeout = settings.operation_timeout.total_seconds()
    scheme = url.partition("://")[0]
    try:
        # redis-py takes what is no number for database 0.
        if scheme != "unix" and not _DATABASE.fullmatch(urlsplit(url).path):
            raise ValueError  # noqa: TRY301 - one message for all that is wrong
        pool = ConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            protocol=2,  # redis-py 8.1 hands out dead idle connections over RESP3
            retry=Retry(NoBackoff(), 0),
        )
        pool.connection_class(**pool.connection_kwargs)  # connects to nothing, and refuses unknown options
    except (ValueError, TypeError):
        pool = None
    if pool is None:
        message = f"this {scheme}:// URL is wrong; it looks like redis://user:password@host:6379/0 or unix:///path?db=0"
        raise ConfigurationError(message)
    return Redis(connection_pool=pool)


def database(client: Redis) -> int:
    """Return the number of the database."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def address(client: Redis) -> str:
    """Return host and port, or the path of the socket."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
