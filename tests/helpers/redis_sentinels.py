"""A master, its replicas, and Sentinels that monitor them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from redis_server import RedisServer, running, wait_for_reply

SERVICE = "party"


@dataclass(frozen=True)
class Service:
    """The running servers and Sentinels."""

    servers: tuple[RedisServer, ...]
    sentinels: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """The URL of a store."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def master(self) -> RedisServer:
        """Return the master that the first available Sentinel reports."""
        for sentinel in self.sentinels:
            answer = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE).split(b"\r\n")
            if len(answer) > 4:
                return next(server for server in self.servers if server.port == int(answer[4]))
        message = "no Sentinel answers"
        raise RuntimeError(message)

    def fail_over(self) -> None:
        """Make the first Sentinel promote a replica, without waiting for the end of the failover."""
        wait_for_reply("+OK", self.sentinels[0], to=("SENTINEL", "FAILOVER", SERVICE))


@contextmanager
def sentinel_service(
    *options: str,
    replicas: int = 2,
    sentinels: int = 3,
    down_after_ms: int = 60_000,
    password: str = "",
    program: str | None = None,
) -> Generator[Service]:
    """Run a master, replicas and Sentinels with an optional password, and wait until they have discovered each other.

    The Sentinels do not mark a slow server as down, so by default only `Service.fail_over` promotes a replica. All
    processes run `program`, or the redis-server on the PATH.
    """
    common = ("--repl-diskless-sync-delay", "0", *options)
    master = RedisServer(*common, program=program)
    follow = ("--replicaof", f"127.0.0.1 {master.port}")
    servers = (master, *(RedisServer(*common, *follow, program=program) for _ in range(replicas)))
    watch = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} {sentinels // 2 + 1}",
        f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
        f"sentinel failover-timeout {SERVICE} 60000",
        *([f"requirepass {password}"] if password else []),
    )
    watchers = tuple(RedisServer(*watch, sentinel=True, password=password, program=program) for _ in range(sentinels))
    with running(*servers):
        wait_for_reply("master_link_status:up", *servers[1:], to=("INFO", "replication"))
        with running(*watchers):
            for watcher in watchers:  # frequent announcements for a quick discovery, and no TILT mode on a slow machine
                watcher.ask("SENTINEL", "DEBUG", "PUBLISH-PERIOD", "100", "TILT-TRIGGER", "600000")
            wait_for_reply(f"slaves={replicas},sentinels={sentinels}", *watchers, to=("INFO", "sentinel"))
            for watcher in watchers:
                watcher.ask("SENTINEL", "DEBUG", "PUBLISH-PERIOD", "2000")
            yield Service(servers, watchers)
