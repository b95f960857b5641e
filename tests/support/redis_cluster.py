"""A cluster: masters with a replica each."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from redis_process import RedisProcess, wait_until
from redis_server import free_port


@dataclass(frozen=True)
class Cluster:
    """What runs; the replica of `masters[i]` is `replicas[i]`."""

    masters: tuple[RedisProcess, ...]
    replicas: tuple[RedisProcess, ...]

    @property
    def url(self) -> str:
        """The URL of a store."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{master.port}" for master in self.masters)

    def owner(self, key: str) -> int:
        """Return the number of the master that has a key's slot at first."""
        return owner_of(key_slot(key.encode()), len(self.masters))

    def names(self, prefix: str, owner: int, count: int, kind: str = "room:") -> list[str]:
        """Return ids whose keys lie on one master."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            if self.owner(f"{kind}{prefix}{number}") == owner:
                found.append(f"{prefix}{number}")
            number += 1
        return found


def owner_of(slot: int, masters: int) -> int:
    """Return the number of the master that has a slot."""
    return slot * masters // REDIS_CLUSTER_HASH_SLOTS


def node(process: RedisProcess) -> Any:
    """Return a plain client of one server."""
    return Redis(port=process.port, protocol=2)


@contextmanager
def redis_cluster(
    *options: str, masters: int = 3, replicas: int = 3, timeout_ms: int = 1000, program: str | None = None
) -> Generator[Cluster]:
    """Run a cluster, and wait until it is whole. Each shard lives for itself (`cluster-require-full-coverage no`)."""
    with tempfile.TemporaryDirectory(prefix="wnc-cluster-") as name:
        members: list[RedisProcess] = []
        try:
            for _ in range(masters + replicas):
                settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms))
                alone = ("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
                bus = ("--cluster-port", str(free_port()))
                members.append(RedisProcess(Path(name), *settings, *alone, *bus, *options, program=program))
                members[-1].start()
            yield _join(members, masters)
        finally:
            for process in members:
                process.end()


def _join(members: list[RedisProcess], masters: int) -> Cluster:
    cluster = Cluster(tuple(members[:masters]), tuple(members[masters:]))
    ids: list[str] = []
    for number, member in enumerate(members):
        with node(member) as client:
            ids.append(client.execute_command("CLUSTER", "MYID").decode())
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < masters:
                slots = [slot for slot in range(REDIS_CLUSTER_HASH_SLOTS) if owner_of(slot, masters) == number]
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
            if number:
                bus = int(client.config_get("cluster-port")["cluster-port"])
                with node(members[0]) as first:
                    first.execute_command("CLUSTER", "MEET", "127.0.0.1", member.port, bus)
    wait_until(f"cluster_known_nodes:{len(members)}", 20, *members, words=("CLUSTER", "INFO"))
    for replica, master in zip(cluster.replicas, ids, strict=False):
        wait_until(master, 20, replica, words=("CLUSTER", "NODES"))
        with node(replica) as client:
            client.execute_command("CLUSTER", "REPLICATE", master)
    wait_until("cluster_state:ok", 20, *members, words=("CLUSTER", "INFO"))
    wait_until("master_link_status:up", 20, *cluster.replicas, words=("INFO", "replication"))
    return cluster


def begin_migration(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Begin to move a slot from one master to another, and move its keys; return how many they were."""
    with node(cluster.masters[source]) as giver, node(cluster.masters[target]) as taker:
        there = taker.execute_command("CLUSTER", "MYID").decode()
        taker.execute_command(
            "CLUSTER", "SETSLOT", slot, "IMPORTING", giver.execute_command("CLUSTER", "MYID").decode()
        )
        giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
        moved = 0
        while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            port = cluster.masters[target].port
            giver.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
    return moved


def end_migration(cluster: Cluster, slot: int, target: int) -> None:
    """Let all masters know the slot's new one, beginning with that."""
    with node(cluster.masters[target]) as taker:
        there = taker.execute_command("CLUSTER", "MYID").decode()
    for master in (cluster.masters[target], *cluster.masters):
        with node(master) as one:
            one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there)


def migrate(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Move a slot with its keys; return how many they were."""
    moved = begin_migration(cluster, slot, source, target)
    end_migration(cluster, slot, target)
    return moved
