"""A cluster: masters with a replica each."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from redis_server import HANG_SECONDS, RedisServer, free_port, running, wait_for_reply


@dataclass(frozen=True)
class Cluster:
    """What runs; the replica of `masters[i]` is `replicas[i]`."""

    masters: tuple[RedisServer, ...]
    replicas: tuple[RedisServer, ...]

    @property
    def url(self) -> str:
        """The URL of a store."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{master.port}" for master in self.masters)

    def home(self, name: str) -> int:
        """Return the number of the master that has a room's slot at first."""
        return owner_of(slot_of(name), len(self.masters))

    def names(self, prefix: str, owner: int, count: int) -> list[str]:
        """Return ids of rooms whose slots are on one master."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            if self.home(f"{prefix}{number}") == owner:
                found.append(f"{prefix}{number}")
            number += 1
        return found

    def enable_notifications(self) -> None:
        """Have every server send the keyspace notifications that the documentation names."""
        for server in (*self.masters, *self.replicas):
            assert server.ask("CONFIG", "SET", "notify-keyspace-events", "Kg$xe") == b"+OK\r\n"

    def promote(self, number: int) -> None:
        """Have the replica of a master take its place, whether that master lives, hangs or is dead."""
        replica = self.replicas[number]
        assert replica.ask("CLUSTER", "FAILOVER", "TAKEOVER") == b"+OK\r\n"
        wait_for_reply("role:master", replica, to=("INFO", "replication"))

    def wait_until_demoted(self, number: int) -> None:
        """Wait until a master whose place was taken, and that lives, follows the server that has it now."""
        wait_for_reply("master_link_status:up", self.masters[number], to=("INFO", "replication"))


def tagged(name: str) -> str:
    """Return how the documented keys and channels of a room end: with its bucket in braces, and its id."""
    return f"{{{crc32(name.encode()) % 1024:04}}}:{name}"


def slot_of(name: str) -> int:
    """Return the slot of a room, its chat, its events and the index that lists it."""
    return key_slot(f"room:{tagged(name)}".encode())


def owner_of(slot: int, masters: int) -> int:
    """Return the number of the master that has a slot."""
    return slot * masters // REDIS_CLUSTER_HASH_SLOTS


def node(process: RedisServer) -> Any:
    """Return a plain client of one server."""
    return Redis(port=process.port, protocol=2)


@contextmanager
def redis_cluster(*options: str, masters: int = 3, replicas: int = 3, program: str | None = None) -> Generator[Cluster]:
    """Run a cluster, and wait until it is whole. Each shard lives for itself (`cluster-require-full-coverage no`).

    The members do not take a slow member for a dead one: only a command promotes a replica. They run `program`, or the
    redis-server on the PATH.
    """
    alone = ("--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
    common = ("--cluster-enabled", "yes", "--cluster-replica-no-failover", "yes", *alone, *options)
    news = ("--cluster-node-timeout", "2000")  # within this time, each node sends its state to each other node twice
    members = [
        RedisServer(*common, *news, "--cluster-port", str(free_port()), program=program)
        for _ in range(masters + replicas)
    ]
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


def open_slot(cluster: Cluster, slot: int, source: int, target: int) -> None:
    """Begin to move a slot from one master to another; its keys stay.

    Raises:
        TimeoutError: the masters do not agree on what was before.
    """
    _wait_for_agreement(cluster)
    with node(cluster.masters[source]) as giver, node(cluster.masters[target]) as taker:
        there = taker.execute_command("CLUSTER", "MYID").decode()
        taker.execute_command(
            "CLUSTER", "SETSLOT", slot, "IMPORTING", giver.execute_command("CLUSTER", "MYID").decode()
        )
        giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", there)


def begin_migration(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Begin to move a slot from one master to another, and move its keys; return how many they were.

    Raises:
        TimeoutError: the masters do not agree on what was before.
    """
    open_slot(cluster, slot, source, target)
    with node(cluster.masters[source]) as giver:
        moved = 0
        while keys := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            port = cluster.masters[target].port
            giver.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
    return moved


def _wait_for_agreement(cluster: Cluster) -> None:
    """Wait until all masters agree on the owner and the epoch of each slot.

    A master that does not know the newest epoch takes over a slot with an older one. The next message of the former
    master then reverts the takeover, and Redis deletes the keys of the slot.
    """
    deadline = time.monotonic() + HANG_SECONDS
    while len({_shards(master) for master in cluster.masters}) > 1:
        if time.monotonic() > deadline:
            message = "the masters of the cluster do not agree on its slots"
            raise TimeoutError(message)
        time.sleep(0.005)


def _shards(master: RedisServer) -> frozenset[tuple[str, ...]]:
    """Return each node's id, epoch and slots, as one master has them; without those that are on their way."""
    with node(master) as one:
        lines = one.execute_command("CLUSTER", "NODES").decode().splitlines()
    nodes = ((fields[0], fields[6], *fields[8:]) for fields in map(str.split, lines))
    return frozenset(tuple(field for field in fields if not field.startswith("[")) for fields in nodes)


def set_owner(cluster: Cluster, slot: int, owner: int, on: Sequence[int] = (0, 1, 2)) -> None:
    """Tell masters which of them has a slot, beginning with that."""
    with node(cluster.masters[owner]) as taker:
        there = taker.execute_command("CLUSTER", "MYID").decode()
    for number in sorted(on, key=lambda number: number != owner):
        with node(cluster.masters[number]) as one:
            one.execute_command("CLUSTER", "SETSLOT", slot, "NODE", there)


def migrate(cluster: Cluster, slot: int, source: int, target: int) -> int:
    """Move a slot with its keys; return how many they were."""
    moved = begin_migration(cluster, slot, source, target)
    set_owner(cluster, slot, target)
    return moved
