"""A Redis Cluster of masters with one replica each."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from redis_server import HANG_SECONDS, RedisServer, free_port, running, wait_for_reply


@dataclass(frozen=True)
class Cluster:
    """A running cluster. The replica of `masters[i]` is `replicas[i]`."""

    masters: tuple[RedisServer, ...]
    replicas: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """The URL of a store."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{master.port}" for master in self.masters)

    def owner(self, key: str) -> int:
        """Return the number of the master that initially owns a key's slot."""
        return owner_of(key_slot(key.encode()), len(self.masters))

    def names(self, prefix: str, owner: int, count: int, kind: str = "room:") -> list[str]:
        """Return ids whose keys are on one master."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            if self.owner(f"{kind}{prefix}{number}") == owner:
                found.append(f"{prefix}{number}")
            number += 1
        return found

    def promote(self, number: int) -> None:
        """Make a replica take over from its master, which may be running, paused or dead."""
        replica = self.replicas[number]
        assert replica.ask("CLUSTER", "FAILOVER", "TAKEOVER") == b"+OK\r\n"
        wait_for_reply("role:master", replica, to=("INFO", "replication"))

    def wait_until_demoted(self, number: int) -> None:
        """Wait until a replaced master that is running replicates from its successor."""
        wait_for_reply("master_link_status:up", self.masters[number], to=("INFO", "replication"))


def owner_of(slot: int, masters: int) -> int:
    """Return the number of the master that owns a slot."""
    return slot * masters // REDIS_CLUSTER_HASH_SLOTS


def node(process: RedisServer) -> Any:
    """Return a plain client of one server."""
    return Redis(port=process.port, protocol=2)


@contextmanager
def redis_cluster(*options: str, masters: int = 3, replicas: int = 3) -> Generator[Cluster]:
    """Run a cluster, and wait until it is complete. Each shard works alone (`cluster-require-full-coverage no`).

    Members do not mark a slow member as failed, so only a command promotes a replica.
    """
    alone = ("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
    common = ("--cluster-enabled", "yes", "--cluster-replica-no-failover", "yes", *alone, *options)
    news = ("--cluster-node-timeout", "2000")  # members exchange their state twice in that time
    members = [RedisServer(*common, *news, "--cluster-port", str(free_port())) for _ in range(masters + replicas)]
    with running(*members):
        cluster = _join(members, masters)
        for member in members:
            member.ask("CONFIG", "SET", "cluster-node-timeout", "60000")
        yield cluster


def _join(members: list[RedisServer], masters: int) -> Cluster:
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
    wait_for_reply(f"cluster_known_nodes:{len(members)}", *members, to=("CLUSTER", "INFO"))
    for replica, master in zip(cluster.replicas, ids, strict=False):
        wait_for_reply(master, replica, to=("CLUSTER", "NODES"))
        with node(replica) as client:
            client.execute_command("CLUSTER", "REPLICATE", master)
        wait_for_reply(f"slave,nofailover {master}", *members, to=("CLUSTER", "NODES"))
    wait_for_reply("cluster_state:ok", *members, to=("CLUSTER", "INFO"))
    wait_for_reply("master_link_status:up", *cluster.replicas, to=("INFO", "replication"))
    return cluster


def begin_migration(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Start to migrate a slot from one master to another and move its keys. Return the number of keys.

    Raises:
        TimeoutError: the masters do not agree on the state before the migration.
    """
    _wait_for_agreement(cluster)
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


def _wait_for_agreement(cluster: Cluster) -> None:
    """Wait until all masters report the same owner and epoch for each slot.

    A master that takes a slot before it knows the newest epoch takes it with an old epoch. An earlier claim of the
    former master then overrides it, and Redis deletes the slot's keys.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while len({_shards(master) for master in cluster.masters}) > 1:
        if time.monotonic() > deadline:
            message = "the masters of the cluster do not agree on its slots"
            raise TimeoutError(message)
        time.sleep(0.005)


def _shards(master: RedisServer) -> frozenset[tuple[str, ...]]:
    """Return the id, epoch and slots of each node as one master reports them, without slots in migration."""
    with node(master) as one:
        lines = one.execute_command("CLUSTER", "NODES").decode().splitlines()
    nodes = ((fields[0], fields[6], *fields[8:]) for fields in map(str.split, lines))
    return frozenset(tuple(field for field in fields if not field.startswith("[")) for fields in nodes)


def set_owner(cluster: Cluster, slot: int, owner: int, on: Sequence[int] = (0, 1, 2)) -> None:
    """Set the owner of a slot on masters, beginning with the owner."""
    with node(cluster.masters[owner]) as taker:
        there = taker.execute_command("CLUSTER", "MYID").decode()
    for number in sorted(on, key=lambda number: number != owner):
        with node(cluster.masters[number]) as one:
            one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there)


def migrate(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Migrate a slot with its keys, and return the number of keys."""
    moved = begin_migration(cluster, slot, source, target)
    set_owner(cluster, slot, target)
    return moved
