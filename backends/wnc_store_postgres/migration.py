"""The command `wnc-store migrate`, which creates the tables and functions."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer

from wnc_store import ConfigurationError, StoreError, StoreSettings, StoreUnavailableError
from wnc_store_postgres import schema
from wnc_store_postgres.transport.connection import open_connection
from wnc_store_postgres.transport.errors import NoConnectionError, to_store_error
from wnc_store_postgres.transport.executor import session_options
from wnc_store_postgres.transport.url import parse_url

_EXIT_FAILED, _EXIT_USAGE, _EXIT_UNAVAILABLE = 1, 2, 3


def migrate(
    url: Annotated[str | None, typer.Argument(metavar="URL", help="Database. Default: WNC_STORE_URL.")] = None,
    *,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long to wait for locks.")] = 30.0,
) -> None:
    """Create the tables and functions in a PostgreSQL database, or check them. Nothing is ever dropped."""
    try:
        name, is_new = asyncio.run(migrate_database(url or os.environ.get("WNC_STORE_URL", ""), timeout))
    except StoreError as error:
        typer.echo(f"error: {error}", err=True)
        is_usage_error = isinstance(error, ConfigurationError)
        is_unavailable = isinstance(error, StoreUnavailableError)
        raise typer.Exit(
            _EXIT_USAGE if is_usage_error else _EXIT_UNAVAILABLE if is_unavailable else _EXIT_FAILED
        ) from None
    done = "created" if is_new else "up to date:"
    typer.echo(f"{done} version {schema.VERSION} of the tables and functions in schema {name!r}")


async def migrate_database(url: str, timeout: float) -> tuple[str, bool]:  # noqa: ASYNC109 - also a time-out of locks
    """Create the tables and functions that do not exist.

    Args:
        url: the URL of the database.
        timeout: how many seconds the migration may take.

    Returns:
        The name of the schema, and whether anything was created.

    Raises:
        ConfigurationError: the URL is invalid, or the tables cannot be created. Nothing was written.
        StoreUnavailableError: the server cannot be reached, or another migration takes too long.
    """
    settings = StoreSettings()
    target, deadline = parse_url(url, settings), asyncio.get_running_loop().time() + timeout
    failure: BaseException
    try:
        connection = await open_connection(target.direct or target, deadline, session_options(settings))
    except NoConnectionError as error:
        failure = error
    else:
        try:
            async with asyncio.timeout_at(deadline):
                return await schema.migrate(connection, deadline)
        except Exception as error:  # noqa: BLE001 - asyncpg raises any kind of error
            failure = error
        finally:
            connection.terminate()
    raise to_store_error(failure, endpoint=target.endpoint)
