"""What there is to say of a Redis server's set-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from wnc_store import ConfigurationError, HealthCheck, StoreError, StoreSettings
from wnc_store_redis.keys import Keys
from wnc_store_redis.scripts import COUNT
from wnc_store_redis.transport.executor import CommandExecutor

_SWITCH_ON = "CONFIG SET notify-keyspace-events Kg$xe (and what is on already), and in redis.conf"

_NOBODY = "wnc-store-health"
"""Whose leases are asked for: that tries a script and changes nothing."""


async def run_checks(
    commands: CommandExecutor, keys: Keys, settings: StoreSettings
) -> tuple[str | None, Sequence[HealthCheck]]:
    """Return the server's version, and what was found."""
    scripts = await _scripts(commands, keys)
    notifications = await _notifications(commands, needed=settings.notify_external_changes)
    try:
        text = await commands.read(b"INFO")
    except ConfigurationError:
        unknown = HealthCheck("set-up", "unknown", "the user may not run INFO", "grant it: ACL SETUSER <user> +info")
        return None, [scripts, notifications, unknown]
    except StoreError as error:  # some hosted and fake servers have no INFO
        return None, [scripts, notifications, HealthCheck("set-up", "unknown", str(error))]
    info = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    found = [scripts, notifications, _eviction(info), _persistence(info), _replication(info)]
    return info.get("redis_version"), found


async def _scripts(commands: CommandExecutor, keys: Keys) -> HealthCheck:
    try:
        await commands.run_script(COUNT, [keys.connections(_NOBODY)])
    except StoreError as error:
        return HealthCheck(
            "scripts", "error", str(error), "every write is a script: allow EVAL and EVALSHA, on all our keys"
        )
    return HealthCheck("scripts", "ok", "they run")


async def _notifications(commands: CommandExecutor, *, needed: bool) -> HealthCheck:
    """Say whether the server tells of changes by other writers."""
    name = "notifications"
    try:
        reply = await commands.read(b"CONFIG", b"GET", b"notify-keyspace-events")
        over_resp3 = isinstance(reply, dict)
        (answer,) = cast("dict[bytes, bytes]", reply).values() if over_resp3 else cast("list[bytes]", reply)[1:]
    except (StoreError, ValueError):  # a hosted server may answer nothing
        found = "the server does not say whether notify-keyspace-events is on"
        remedy = f"grant +config|get to see it; to switch it on: {_SWITCH_ON}"
        return HealthCheck(name, "unknown" if needed else "ok", found, remedy if needed else "")
    flags = answer.decode()
    missing = "".join(flag for flag in "Kg$xe" if flag not in flags.replace("A", "g$lshzxetd"))
    if not missing:
        return HealthCheck(name, "ok", f"changes by other writers can be told: notify-keyspace-events is {flags}")
    found = f"changes by other writers can't be told: notify-keyspace-events lacks {missing}"
    if needed:
        return HealthCheck(name, "error", found, _SWITCH_ON)
    return HealthCheck(
        name,
        "ok",
        f"{found}, and notify_external_changes is off",
        f"only if you want to be told of them: {_SWITCH_ON}",
    )


def _eviction(info: dict[str, str]) -> HealthCheck:
    policy = info.get("maxmemory_policy", "")
    if not policy:
        return HealthCheck("eviction", "unknown", "the server does not tell its policy")
    if policy == "noeviction":
        return HealthCheck("eviction", "ok", policy)
    remedy = "CONFIG SET maxmemory-policy noeviction, and in redis.conf"
    return HealthCheck("eviction", "error", f"{policy}: rooms that live are dropped when memory is short", remedy)


def _persistence(info: dict[str, str]) -> HealthCheck:
    if info.get("loading") == "1":
        return HealthCheck("persistence", "error", "the server is loading its data", "wait until it has")
    for field, what in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "write to the log")):
        if info.get(field, "ok") != "ok":
            return HealthCheck(
                "persistence", "error", f"the last {what} failed: writes may be refused", "look into its log"
            )
    if info.get("aof_enabled") == "1":
        return HealthCheck("persistence", "ok", "append-only file")
    found = "no append-only file: a crash loses what came after the last snapshot, if there are any"
    return HealthCheck("persistence", "warning", found, "CONFIG SET appendonly yes, and in redis.conf")


def _replication(info: dict[str, str]) -> HealthCheck:
    if info.get("role") == "slave":
        return HealthCheck(
            "replication", "error", "this is a replica: it takes no writes", "name the master in the URL"
        )
    return HealthCheck("replication", "ok", f"master with {info.get('connected_slaves', '0')} replicas")
