"""The names of keys and channels, on a single server and on a cluster."""

from __future__ import annotations

from datetime import timedelta

import pytest
from redis.crc import key_slot

from wnc_store import ConfigurationError, StoreSettings
from wnc_store_redis.keys import Keys

DAY = timedelta(days=1)
IDS = ["A", "room:1", "a.b-c_d", "x" * 128]


@pytest.mark.parametrize("database", [0, 3])
def test_a_single_server_has_the_names_of_the_node_app(database: int) -> None:
    """On a single server keys have the names of the Node app, and only channels name the database."""
    keys = Keys("app:", database)
    assert keys.of_room("A") == [b"app:room:A", b"app:active-rooms", b"app:chat:A"]
    assert [keys.active_rooms(bucket) for bucket in keys.buckets] == [b"app:active-rooms"]
    assert keys.events("A") == (b"app:events@3:A" if database else b"app:events:A")
    assert keys.notifications("A") == b"__keyspace@%d__:app:room:A" % database
    assert keys.publish == b"PUBLISH"
    assert keys.index_ttl(DAY) == DAY


def test_a_cluster_has_the_documented_names() -> None:
    """On a cluster the keys of a room and its channel have the CRC-32 of its id, modulo 1024, in braces."""
    keys = Keys("app:", 0, is_bucketed=True)
    assert keys.of_room("ABC") == [b"app:room:{0840}:ABC", b"app:active-rooms:{0840}", b"app:chat:{0840}:ABC"]
    assert keys.events("ABC") == b"app:events:{0840}:ABC"
    assert keys.publish == b"SPUBLISH"
    assert keys.index_ttl(DAY) == 2 * DAY
    assert [keys.connections("A"), keys.rate_limit("A")] == [b"app:connections:A", b"app:rl:A"]


@pytest.mark.parametrize("room_id", IDS)
def test_all_keys_of_a_room_share_a_slot(room_id: str) -> None:
    """On a cluster the keys of a room, those that are made from its index entry, and its channel share a slot."""
    keys = Keys("app:", 0, is_bucketed=True)
    listed = keys.listed_room(keys.bucket(room_id), room_id.encode())
    assert listed == keys.room(room_id)
    assert len({key_slot(key) for key in [*keys.of_room(room_id), keys.events(room_id)]}) == 1
    assert keys.bucket(room_id) in keys.buckets


def test_there_are_1024_buckets() -> None:
    """A cluster has 1024 buckets, and each bucket has an index."""
    keys = Keys("", 0, is_bucketed=True)
    assert len({keys.active_rooms(bucket) for bucket in keys.buckets}) == 1024


@pytest.mark.parametrize("room_id", IDS)
@pytest.mark.parametrize("is_bucketed", [True, False])
def test_channels_lead_back_to_their_room(room_id: str, *, is_bucketed: bool) -> None:
    """A channel names its room, and the channel of a room is found by the key of the room or of its chat."""
    keys = Keys("app:", 0, is_bucketed=is_bucketed)
    assert keys.room_of_channel(keys.events(room_id)) == (room_id, False)
    assert keys.room_of_channel(keys.notifications(room_id)) == (room_id, True)
    assert keys.notifications_for_channel(keys.events(room_id)) == keys.notifications(room_id)
    assert keys.key_for_channel(keys.events(room_id)) == keys.room(room_id)
    for key in (keys.room(room_id), keys.chat(room_id)):
        assert keys.channel_for_key(key) == keys.events(room_id)
    assert keys.channel_for_key(keys.active_rooms(keys.bucket(room_id))) is None
    assert keys.channel_for_key(keys.rate_limit(room_id)) is None


KINDS = {
    "room:": Keys.room,
    "chat:": Keys.chat,
    "connections:": Keys.connections,
    "rl:": Keys.rate_limit,
    "events:": Keys.events,
}
"""The names of kinds of keys and channels, and what returns the key of an id."""


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("url:x:", "rl:"),
        ("room:", "room:"),
        ("app-chat:", "chat:"),
        ("a.connections:1", "connections:"),
        ("my:events:", "events:"),
    ],
)
def test_a_rejected_prefix_shares_keys_with_an_accepted_one(prefix: str, name: str) -> None:
    """Keys under a prefix with the name of a kind equal keys of other ids under the prefix before that name."""
    before, _, behind = prefix.partition(name)
    accepted = StoreSettings(key_prefix=before).key_prefix
    assert KINDS[name](Keys(prefix, 0), "A") == KINDS[name](Keys(accepted, 0), f"{behind}{name}A")
    with pytest.raises(ConfigurationError, match="must not contain"):
        StoreSettings(key_prefix=prefix)


def test_accepted_prefixes_share_no_key() -> None:
    """A prefix without the name of a kind shares no key with another, because no name continues within another."""
    assert [key(Keys("", 0), "A") for key in KINDS.values()] == [f"{name}A".encode() for name in KINDS]
    names = [*KINDS, Keys("", 0).active_rooms(b"").decode()]
    for end in (name[start:] for name in names for start in range(1, len(name))):
        assert not [name for name in names if name.startswith(end) or end.startswith(name)]
