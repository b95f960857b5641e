"""Health checks of a Redis or Valkey server, and its activity.

The activity contains only names of commands and scripts, because arguments contain private data.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from wnc_store import (
    ConfigurationError,
    HealthCheck,
    ServerActivity,
    ServerInfo,
    ServerOperation,
    SlowLogEntry,
    StoreError,
    StoreSettings,
)
from wnc_store_redis import scripts
from wnc_store_redis.chat_order import check_chat_order
from wnc_store_redis.keys import Keys
from wnc_store_redis.transport.connection import Reply
from wnc_store_redis.transport.executor import Command, CommandExecutor, Script

_ENABLE_NOTIFICATIONS = (
    "run CONFIG SET notify-keyspace-events with Kg$xe added to its flags on every server, also in the configuration "
    "files"
)
_NO_EVICTION = "run CONFIG SET maxmemory-policy noeviction, also in the server's configuration file"
_APPEND_ONLY = "run CONFIG SET appendonly yes, also in the server's configuration file"

_PRODUCTS = {
    "valkey_version": "Valkey",
    "dragonfly_version": "Dragonfly",
    "garnet_version": "Garnet",
    "kvrocks_version": "Kvrocks",
    "redis_version": "Redis",
}
"""Field of INFO -> product. Other products also send `redis_version`, for clients that expect Redis."""

_VERSION = re.compile(r"[\w.+-]{1,40}")
_DENIED = re.compile("NOPERM|ACL failure|The user executing the script can't")
_UNKNOWN = re.compile("unknown", re.IGNORECASE)
_GRANT = "grant the user the permissions in docs/redis-acl.md, and do not rename or disable commands"

_OF_RETRIES = {b"CLIENT|INFO", b"CLIENT|KILL"}
"""The commands that end a lost connection on the server, so that a write can be repeated safely."""

_SLOW_LOG_ENTRIES = b"128"
"""Number of slow log entries that are read: the default length of the log, because some entries are our own."""

_COMMAND_STATISTICS = re.compile(r"^cmdstat_([^:]+):calls=(\d{1,18}),usec=(\d{1,18})", re.MULTILINE)
_CLIENT_ADDRESS = re.compile(rb"\baddr=(\S+)")
_OF_CONNECTION = ("hello", "client|kill", "client|info", "time")
"""The commands that open a connection, once each."""

_COMMAND_NAME = re.compile(r"[a-z_|-]{1,40}")
_SCRIPTS = {script.sha: name.lower() for name, script in vars(scripts).items() if isinstance(script, Script)}


async def run_checks(
    commands: CommandExecutor, keys: Keys, settings: StoreSettings
) -> tuple[ServerInfo | None, Sequence[HealthCheck]]:
    """Return the server's product and version, or None if they are unknown, and the results of the checks."""
    checks = [
        *await _check_commands(commands, keys, settings),
        await check_chat_order(commands, keys, settings),
        *await _check_notifications(commands, keys, needed=settings.notify_external_changes),
    ]
    try:
        text = await commands.read(b"INFO")
    except ConfigurationError:
        hint = "run ACL SETUSER <user> +info"
        return None, [*checks, HealthCheck("set-up", "unknown", "the user is not permitted to run INFO", hint)]
    except StoreError as error:  # some hosted and fake servers do not implement INFO
        return None, [*checks, HealthCheck("set-up", "unknown", str(error))]
    info = _parse(text)
    checks += [
        replace(check, hint=commands.product.localize(check.hint))
        for check in _check_mode(info, is_cluster=len(keys.buckets) > 1)
    ]
    checks += [_check_eviction(info), _check_persistence(info), _check_replication(info)]
    return _identify(info), checks


class ActivityReader:
    """Reads the activity of a server.

    It subtracts its own commands from the statistics: those that open a connection, and those of earlier reads. Each
    read queries the statistics before it runs its other commands, which the next read subtracts.

    Args:
        commands: runs the commands.
        keys: the keys of the store.
    """

    def __init__(self, commands: CommandExecutor, keys: Keys) -> None:
        self._commands = commands
        self._keys = keys
        self._own = Counter[str](_OF_CONNECTION)

    async def read(self) -> ServerActivity:
        """Implement `SupportsServerActivity.activity`."""
        unavailable: list[str] = []

        async def read(permission: str, *requests: Command) -> list[Reply] | None:
            try:
                return await self._commands.read_many(requests)
            except ConfigurationError:
                name = requests[0][0].decode()
                unavailable.append(f"the user is not permitted to run {name}: grant it {permission}")
                return None

        replies = await read("+info", (b"INFO", b"commandstats"), (b"INFO", b"server"))
        statistics, server_info = replies or (b"", b"")
        operations = self._others(statistics.decode(errors="replace"))
        indexes = [self._keys.active_rooms(bucket) for bucket in self._keys.buckets]
        room_counts = await read("+scard", *((b"SCARD", index) for index in indexes))
        slow_log = await read("+slowlog|get", (b"SLOWLOG", b"GET", _SLOW_LOG_ENTRIES))
        address = await self._own_address() if slow_log else None
        self._own["info"] += len(replies or ())
        self._own["slowlog|get"] += slow_log is not None
        if room_counts is not None:
            server = self._commands.server_epoch(b"commandstats")
            self._own["scard"] += sum(self._commands.server_epoch(index) == server for index in indexes)
        room_count = None if room_counts is None else sum(room_counts)
        slow_entries = (_slow_log_entry(entry, address) for entry in (slow_log[0] if slow_log else ()))
        return ServerActivity(
            room_count, operations, tuple(slow_entries), tuple(unavailable), _identify(_parse(server_info))
        )

    def _others(self, statistics: str) -> tuple[ServerOperation, ...]:
        """Return the operations of the statistics without our own. The mean duration of an operation stays the same."""
        found = ((name, int(calls), int(us) / 1e6) for name, calls, us in _COMMAND_STATISTICS.findall(statistics))
        others = ((name, calls - self._own[name], seconds / max(1, calls)) for name, calls, seconds in found)
        return tuple(ServerOperation(name, calls, calls * mean) for name, calls, mean in others if calls > 0)

    async def _own_address(self) -> bytes | None:
        """Return the address of this store's connection as the slow log contains it; None if it is not known."""
        try:
            # The key selects the server that SLOWLOG GET is sent to.
            info = await self._commands.read(b"CLIENT", b"INFO", key=b"GET")
        except StoreError:
            return None
        self._own["client|info"] += 1
        found = _CLIENT_ADDRESS.search(info)
        # All clients of a Unix socket have the same address, with port 0.
        return found[1] if found and not found[1].endswith(b":0") else None


def _parse(text: bytes) -> dict[str, str]:
    """Return the fields of a reply to INFO."""
    return dict(line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)


def _identify(info: dict[str, str]) -> ServerInfo | None:
    """Return the product and its version, or None if INFO does not contain a version."""
    versions = ((name, info.get(field, "")) for field, name in _PRODUCTS.items())
    return next((ServerInfo(name, version) for name, version in versions if _VERSION.fullmatch(version)), None)


def _slow_log_entry(entry: Reply, own_address: bytes | None) -> SlowLogEntry:
    _, at, microseconds, command, *client = entry
    own = own_address is not None and client[:1] == [own_address]
    return SlowLogEntry(_operation_name(command), microseconds / 1e6, datetime.fromtimestamp(at, UTC), own)


def _operation_name(command: list[bytes]) -> str:
    name = command[0].decode("utf-8", "replace").lower() if command else ""
    if name == "evalsha" and len(command) > 1 and command[1] in _SCRIPTS:
        return f"script {_SCRIPTS[command[1]]}"
    return name if _COMMAND_NAME.fullmatch(name) else "unknown"


async def _check_commands(commands: CommandExecutor, keys: Keys, settings: StoreSettings) -> list[HealthCheck]:
    """Run every command of the store on each master, on keys that no operation uses."""
    publishes, push = settings.publish_changes, b"LPUSH" if settings.chat_order == "newest_first" else b"RPUSH"
    sharded = b"S" if keys.publish == b"SPUBLISH" else b""
    of_events = keys.publish, sharded + b"SUBSCRIBE", sharded + b"UNSUBSCRIBE"

    def probe(bucket: bytes) -> Awaitable[list[bytes]]:
        probe_keys, channel = keys.of_probe(bucket)
        return commands.run_script(scripts.PROBE, probe_keys, *of_events, channel, push)

    buckets = {commands.server_epoch(keys.active_rooms(bucket)): bucket for bucket in keys.buckets}
    try:
        replies = await asyncio.gather(*map(probe, buckets.values()))
    except StoreError as error:
        hint = "permit EVAL and EVALSHA on all keys of the store: every write is a script"
        return [HealthCheck("scripts", "error", str(error), hint)]
    failures = {name: _explain(error) for reply in replies for name, error in zip(*[iter(reply)] * 2, strict=True)}
    described = {name: f"{name.decode()} {why}" for name, why in failures.items()}
    scripts_fail = [text for name, text in described.items() if name not in {*of_events, *_OF_RETRIES}]
    events_fail = [text for name, text in described.items() if name in of_events]
    retries_fail = [text for name, text in described.items() if name in _OF_RETRIES]
    return [
        HealthCheck("scripts", "error", ", ".join(scripts_fail), _GRANT)
        if scripts_fail
        else HealthCheck("scripts", "ok", "the server runs scripts, and every command in them"),
        HealthCheck("events", "error" if publishes else "warning", ", ".join(events_fail), _GRANT)
        if events_fail
        else HealthCheck("events", "ok", "the server publishes events"),
        HealthCheck("retries", "warning", f"lost replies end in OutcomeUnknownError: {', '.join(retries_fail)}", _GRANT)
        if retries_fail
        else HealthCheck("retries", "ok", "a write can be repeated after its reply was lost"),
    ]


def _explain(error: bytes) -> str:
    """Return why a command failed, without the names in the server's message."""
    message = error.decode("utf-8", "replace")
    if _DENIED.search(message):
        return "is denied"
    return "is unknown to the server" if _UNKNOWN.search(message) else f"fails with {message.partition(' ')[0]}"


async def _check_notifications(commands: CommandExecutor, keys: Keys, *, needed: bool) -> list[HealthCheck]:
    """Check whether every master publishes the keyspace notifications that `notify_external_changes` needs.

    If they are not needed and the setting cannot be read, the report leaves the check out. Many hosted servers deny
    `CONFIG`, and an unknown check would make the store not ok.
    """
    name = "notifications"
    # A key of each server. The router knows the servers, because a ping precedes the checks.
    key_of = {commands.server_epoch(key): key for key in map(keys.active_rooms, keys.buckets)}
    try:
        values = await asyncio.gather(*(_read_notification_flags(commands, key) for key in key_of.values()))
    except (StoreError, ValueError):  # a hosted server may return an empty reply
        if not needed:
            return []
        hint = f"grant +config|get to read it; to enable notifications, {_ENABLE_NOTIFICATIONS}"
        return [HealthCheck(name, "unknown", "notify-keyspace-events cannot be read", hint)]
    enabled = [flags.replace("A", "g$lshzxetd") for flags in values]
    missing = "".join(flag for flag in "Kg$xe" if not all(flag in flags for flags in enabled))
    masters = f"{len(values)} masters" if len(values) > 1 else ""
    if not missing:
        where, flags = masters and f" on {masters}", " or ".join(sorted(set(values)))
        return [HealthCheck(name, "ok", f"external changes can be detected: notify-keyspace-events is {flags}{where}")]
    where = masters and f" on at least one of {masters}"
    detail = f"external changes cannot be detected: notify-keyspace-events lacks {missing}{where}"
    if needed:
        return [HealthCheck(name, "error", detail, _ENABLE_NOTIFICATIONS)]
    hint = f"only to use notify_external_changes: {_ENABLE_NOTIFICATIONS}"
    return [HealthCheck(name, "ok", f"{detail}, and notify_external_changes is off", hint)]


async def _read_notification_flags(commands: CommandExecutor, key: bytes) -> str:
    reply = await commands.read(b"CONFIG", b"GET", b"notify-keyspace-events", key=key)
    over_resp3 = isinstance(reply, dict)
    (value,) = cast("dict[bytes, bytes]", reply).values() if over_resp3 else cast("list[bytes]", reply)[1:]
    return value.decode(errors="replace")


def _check_mode(info: dict[str, str], *, is_cluster: bool) -> list[HealthCheck]:
    """Return an error if the server requires another URL scheme or client."""
    mode = info.get("redis_mode") or info.get("server_mode")  # Valkey renamed the field
    if mode == "cluster" and not is_cluster:
        return [HealthCheck("mode", "error", "the server is a node of a cluster", "use redis+cluster://")]
    if mode == "sentinel":
        return [HealthCheck("mode", "error", "the server is a Sentinel", "use redis+sentinel://")]
    return []


def _check_eviction(info: dict[str, str]) -> HealthCheck:
    policy = info.get("maxmemory_policy", "")
    if not policy:
        return HealthCheck("eviction", "unknown", "INFO does not contain maxmemory_policy")
    if policy == "noeviction":
        return HealthCheck("eviction", "ok", policy)
    detail = f"maxmemory-policy is {policy}: the server may delete live rooms when its memory is full"
    return HealthCheck("eviction", "error", detail, _NO_EVICTION)


def _check_persistence(info: dict[str, str]) -> HealthCheck:
    if info.get("loading") == "1":
        return HealthCheck("persistence", "error", "the server is loading its data", "wait until it has finished")
    for field, operation in (("rdb_last_bgsave_status", "snapshot"), ("aof_last_write_status", "append-only write")):
        if info.get(field, "ok") != "ok":
            detail = f"the last {operation} failed: the server may reject writes"
            return HealthCheck("persistence", "error", detail, "read the server's log")
    if "aof_enabled" not in info:
        return HealthCheck("persistence", "unknown", "INFO does not contain aof_enabled")
    if info["aof_enabled"] == "1":
        return HealthCheck("persistence", "ok", "append-only file")
    detail = "no append-only file: a crash loses every write since the last snapshot, if there is one"
    return HealthCheck("persistence", "warning", detail, _APPEND_ONLY)


def _check_replication(info: dict[str, str]) -> HealthCheck:
    role = info.get("role")
    if role not in {"master", "slave"}:
        return HealthCheck("replication", "unknown", "INFO does not contain the role master or slave")
    if role == "slave":
        return HealthCheck(
            "replication", "error", "the server is a replica and rejects writes", "name the master in the URL"
        )
    return HealthCheck("replication", "ok", f"master with {info.get('connected_slaves', '0')} replicas")
