"""Activity of a PostgreSQL server: calls of the functions of wnc-store, by all stores of the database."""

from __future__ import annotations

from wnc_store import ServerActivity, ServerInfo, ServerOperation
from wnc_store_postgres.transport.executor import StatementExecutor

_COUNT = "SELECT count(*) FROM wnc_schema.wnc_store_active WHERE prefix = $1"
_FUNCTIONS = """
SELECT substring(funcname FROM '^wnc_store_(.+)_v[0-9]+$'), calls, total_time / 1000 FROM pg_stat_user_functions
WHERE funcname ~ '^wnc_store_.+_v[0-9]+$' AND $1::text IS NOT NULL ORDER BY total_time DESC
"""
_SETTINGS = "SELECT current_setting('server_version'), current_setting('track_functions'), $1::text"
_NO_SLOW_LOG = "PostgreSQL writes slow statements only to its log file: set log_min_duration_statement"
_NO_FUNCTIONS = "the server does not count calls of functions: set track_functions = pl in postgresql.conf"


async def read_activity(executor: StatementExecutor) -> ServerActivity:
    """Implement `SupportsServerActivity.activity`."""
    [(version, tracked, _)] = await executor.fetch(_SETTINGS)
    [(listed,)] = await executor.fetch(_COUNT)
    operations = tuple(ServerOperation(*row) for row in await executor.fetch(_FUNCTIONS))
    unavailable = (_NO_SLOW_LOG, _NO_FUNCTIONS) if tracked == "none" else (_NO_SLOW_LOG,)
    return ServerActivity(listed, operations, (), unavailable, ServerInfo("PostgreSQL", version.split(" ")[0]))
