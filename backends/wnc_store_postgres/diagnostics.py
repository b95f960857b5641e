"""Health checks of a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wnc_store import ConfigurationError, HealthCheck, ServerInfo
from wnc_store_postgres.transport.executor import StatementExecutor

_READ = """
WITH clients AS (SELECT datid, usesysid FROM pg_stat_activity WHERE usesysid IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend') -- NULL for the sessions of other roles
SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync'),
    current_setting('full_page_writes'), current_setting('autovacuum'), current_setting('track_counts'),
    server.sessions, current_setting('max_connections')::int,
    database.sessions, CASE WHEN role.rolsuper THEN -1 ELSE database.datconnlimit END,
    role.sessions, CASE WHEN role.rolsuper THEN -1 ELSE role.rolconnlimit END, pg_notification_queue_usage(),
    current_setting('log_parameter_max_length') <> '0' AND (current_setting('log_statement') = 'all'
        OR current_setting('log_min_duration_statement') <> '-1' OR current_setting('log_min_duration_sample') <> '-1'
        OR current_setting('log_transaction_sample_rate') <> '0'),
    coalesce(current_setting('auto_explain.log_min_duration', true), '-1') <> '-1'
        AND coalesce(current_setting('auto_explain.log_parameter_max_length', true), '0') <> '0', $1::text
FROM (SELECT count(*) AS sessions FROM clients) AS server,
    (SELECT datconnlimit, (SELECT count(*) FROM clients WHERE datid = d.oid) AS sessions
        FROM pg_database AS d WHERE datname = current_database()) AS database,
    (SELECT rolsuper, rolconnlimit, (SELECT count(*) FROM clients WHERE usesysid = r.oid) AS sessions
        FROM pg_roles AS r WHERE rolname = session_user) AS role
"""
_NAMES = (
    *("version", "synchronous_commit", "fsync", "full_page_writes", "autovacuum", "track_counts"),
    *("server", "server_limit", "database", "database_limit", "role", "role_limit"),
    *("queue", "logs_parameters", "explains_parameters"),
)
_MOST = 0.8
"""Share of the connections, or of the server's queue, above which a check warns."""

_CONNECTION_LIMITS = {"server": "max_connections", "database": "CONNECTION LIMIT", "role": "CONNECTION LIMIT"}
"""What limits the connections of each. A limit of -1 is none; superusers have none but the server's."""


async def run_checks(executor: StatementExecutor) -> tuple[ServerInfo | None, Sequence[HealthCheck]]:
    """Return the server's version and the results of the checks."""
    rows = await executor.fetch(_READ)
    found = dict(zip(_NAMES, rows[0], strict=False))
    checks = [
        await _check_schema(executor),
        _check_durability(found),
        _check_autovacuum(found),
        _check_connections(found),
        _check_notifications(found),
        _check_log(found),
    ]
    return ServerInfo("PostgreSQL", str(found["version"]).split(" ")[0]), checks


async def _check_schema(executor: StatementExecutor) -> HealthCheck:
    try:
        await executor.check_tables()
    except ConfigurationError as error:
        return HealthCheck("schema", "error", str(error))
    detail = "the tables and functions have the expected version, and the role may use them"
    return HealthCheck("schema", "ok", detail)


def _check_durability(found: Mapping[str, object]) -> HealthCheck:
    for name in ("fsync", "full_page_writes"):
        if found[name] == "off":
            detail = f"{name} is off: a crash of the machine can destroy the database"
            return HealthCheck("durability", "warning", detail, f"set {name} = on in postgresql.conf")
    value = found["synchronous_commit"]
    if value == "off":
        detail = "synchronous_commit is off: a crash of the server loses the last writes, which were acknowledged"
        hint = "set it to on for the role, or add ?synchronous_commit=on to the URL"
        return HealthCheck("durability", "warning", detail, hint)
    return HealthCheck("durability", "ok", f"synchronous_commit is {value}")


def _check_autovacuum(found: Mapping[str, object]) -> HealthCheck:
    off = [name for name in ("autovacuum", "track_counts") if found[name] == "off"]
    if off:
        detail = f"{off[0]} is off: every write leaves a dead row, and the tables grow"
        return HealthCheck("autovacuum", "error", detail, f"set {off[0]} = on in postgresql.conf")
    return HealthCheck("autovacuum", "ok", "on")


def _check_connections(found: Mapping[str, object]) -> HealthCheck:
    details: list[str] = []
    for name, setting in _CONNECTION_LIMITS.items():
        used, limit = int(str(found[name])), int(str(found[f"{name}_limit"]))
        if limit < 0:
            continue
        details.append(f"{used} of {limit} connections of the {name} are in use")
        if used > _MOST * limit:
            hint = f"raise {setting} of the {name}, lower pool_size in the URL, or use PgBouncer"
            return HealthCheck("connections", "warning", details[-1], hint)
    return HealthCheck("connections", "ok", ", ".join(details))


def _check_notifications(found: Mapping[str, object]) -> HealthCheck:
    usage = float(str(found["queue"]))
    detail = f"the NOTIFY queue is {usage:.0%} full"
    if usage > _MOST:
        return HealthCheck("notifications", "error", detail, "end the session that listens in a long transaction")
    return HealthCheck("notifications", "ok", detail)


def _check_log(found: Mapping[str, object]) -> HealthCheck:
    settings = {
        "logs_parameters": "log_parameter_max_length",
        "explains_parameters": "auto_explain.log_parameter_max_length",
    }
    leaks = [setting for name, setting in settings.items() if found[name]]
    if leaks:
        detail = "the server logs statements with their arguments: host tokens, messages and rooms"
        return HealthCheck("privacy", "warning", detail, f"set {' = 0 and '.join(leaks)} = 0 in postgresql.conf")
    return HealthCheck("privacy", "ok", "the server does not log arguments of statements")
