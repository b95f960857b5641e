"""A master, its replicas, and Sentinels that watch over them."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis_process import RedisProcess, wait_until

SERVICE = "party"


@dataclass(frozen=True)
class Service:
    """What runs."""

    servers: tuple[RedisProcess, ...]
    sentinels: tuple[RedisProcess, ...]

    @property
    def url(self) -> str:
        """The URL of a store."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def master(self) -> RedisProcess:
        """Return the server that the first Sentinel that answers calls the master."""
        for sentinel in self.sentinels:
            answer = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE).split(b"\r\n")
            if len(answer) > 4:
                return next(server for server in self.servers if server.port == int(answer[4]))
        message = "no Sentinel answers"
        raise RuntimeError(message)


@contextmanager
def sentinel_service(
    *options: str, replicas: int = 2, sentinels: int = 3, down_after_ms: int = 1000, password: str = ""
) -> Generator[Service]:
    """Run a master, replicas and Sentinels that may want a password, and wait until they know one another."""
    with tempfile.TemporaryDirectory(prefix="wnc-sentinel-") as name:
        folder = Path(name)
        common = ("--repl-diskless-sync-delay", "0", *options)
        master = RedisProcess(folder, *common)
        follow = ("--replicaof", f"127.0.0.1 {master.port}")
        servers = (master, *(RedisProcess(folder, *common, *follow) for _ in range(replicas)))
        watch = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} {sentinels // 2 + 1}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 5000",
            *([f"requirepass {password}"] if password else []),
        )
        watchers = tuple(RedisProcess(folder, *watch, sentinel=True, password=password) for _ in range(sentinels))
        try:
            for process in (*servers, *watchers):
                process.start()
            wait_until("master_link_status:up", 20, *servers[1:], words=("INFO", "replication"))
            known = f"slaves={replicas},sentinels={sentinels}"
            wait_until(known, 30, *watchers, words=("INFO", "sentinel"))
            yield Service(servers, watchers)
        finally:
            for process in (*watchers, *servers):
                process.end()
