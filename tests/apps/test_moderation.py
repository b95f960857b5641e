"""The recipe for moderation: its pure functions, and its effect on concurrent joins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from functools import partial
from types import ModuleType

import pytest

from serving import Load
from wnc_store import Room, Store, StoreSettings, User, UserNotFoundError, open_store
from wnc_store.presence import Presence

_HOST, _COHOST, _GUEST, _NEW = (User(id=name.lower(), name=name) for name in ("Ada", "Grace", "Lin", "Mary"))
_USER_ACTIONS = ["kick", "ban", "unban", "mute", "unmute", "promote", "demote"]


@pytest.fixture
def moderation(load: Load) -> ModuleType:
    """The module of the recipe."""
    return load("moderation")


@pytest.fixture
def room() -> Room:
    """A room with a host, a co-host and a guest."""
    room = Room.hosted_by(_HOST, room_id="A")
    return room.replace(users=(*room.users, _COHOST.replace(is_host=True), _GUEST))


@pytest.fixture
async def store(url: str, room: Room) -> AsyncGenerator[Store]:
    """A store in memory or on Redis, which contains the room."""
    settings = StoreSettings(connection_ttl=timedelta(minutes=10))
    async with open_store(url, settings=settings) as store:
        await store.rooms.create_room(room)
        yield store


@pytest.fixture
async def presence(store: Store) -> AsyncGenerator[Presence]:
    """Presence on the store."""
    async with Presence(store, grace=timedelta(minutes=10)) as presence:
        yield presence


@pytest.mark.parametrize("action", _USER_ACTIONS)
@pytest.mark.parametrize("by", ["lin", "mary"])
def test_only_hosts_moderate(moderation: ModuleType, room: Room, action: str, by: str) -> None:
    """A guest, and a user who is not in the room, may not moderate a user."""
    with pytest.raises(moderation.RefusedError):
        moderation.USER_ACTIONS[action](room, by=by, user_id="lin")


@pytest.mark.parametrize("by", ["lin", "mary"])
def test_only_hosts_moderate_the_room(moderation: ModuleType, room: Room, by: str) -> None:
    """A guest, and a user who is not in the room, may not lock it, silence it or set its password."""
    for change in (
        partial(moderation.lock, on=True),
        partial(moderation.quiet, on=True),
        partial(moderation.set_password, password_hash=None),
    ):
        with pytest.raises(moderation.RefusedError):
            change(room, by=by)


@pytest.mark.parametrize("action", ["kick", "ban", "mute", "promote", "demote"])
@pytest.mark.parametrize("user", ["ada", "grace"])
def test_a_cohost_does_not_moderate_hosts(moderation: ModuleType, room: Room, action: str, user: str) -> None:
    """A co-host may moderate neither the host nor a co-host, and may not appoint or dismiss co-hosts."""
    with pytest.raises(moderation.RefusedError):
        moderation.USER_ACTIONS[action](room, by="grace", user_id=user)


@pytest.mark.parametrize("action", ["kick", "ban", "mute", "promote", "demote"])
def test_the_host_stays_the_host(moderation: ModuleType, room: Room, action: str) -> None:
    """The host may not be moderated, not even by the host."""
    with pytest.raises(moderation.RefusedError):
        moderation.USER_ACTIONS[action](room, by="ada", user_id="ada")


def test_kick(moderation: ModuleType, room: Room) -> None:
    """A co-host kicks a guest, and the host kicks a co-host."""
    room = moderation.kick(room, by="grace", user_id="lin")
    assert [user.id for user in room.users] == ["ada", "grace"]
    assert [user.id for user in moderation.kick(room, by="ada", user_id="grace").users] == ["ada"]


def test_ban(moderation: ModuleType, room: Room) -> None:
    """A banned user leaves the room and may not join again until the ban is lifted. A second ban changes nothing."""
    join = partial(moderation.join, user=_GUEST, matched_hash=None)
    banned = moderation.ban(room, by="grace", user_id="lin")
    banned = moderation.ban(moderation.ban(banned, by="ada", user_id="mary"), by="ada", user_id="lin")
    assert [user.id for user in banned.users] == ["ada", "grace"]
    assert banned.model_extra["banned"] == ["mary", "lin"]
    with pytest.raises(moderation.RefusedError, match="banned"):
        join(banned)
    assert join(moderation.unban(banned, by="ada", user_id="lin")).user("lin") is not None


def test_lock(moderation: ModuleType, room: Room) -> None:
    """Nobody may join a locked room, except the former host of a room that waits for users."""
    locked = moderation.lock(room, by="grace", on=True)
    with pytest.raises(moderation.RefusedError, match="locked"):
        moderation.join(locked, user=_NEW, matched_hash=None)
    empty = locked.replace(users=())
    assert moderation.join(empty, user=_HOST, matched_hash=None).user("ada") is not None
    unlocked = moderation.lock(locked, by="ada", on=False)
    assert moderation.join(unlocked, user=_NEW, matched_hash=None).user("mary") is not None


def test_read_only_guests(moderation: ModuleType, room: Room) -> None:
    """A muted guest may not write. In a quiet room no guest may write. Hosts always may."""
    assert moderation.check_writer(room, "lin") == _GUEST
    for closed, opened in (
        (partial(moderation.mute, user_id="lin"), partial(moderation.unmute, user_id="lin")),
        (partial(moderation.quiet, on=True), partial(moderation.quiet, on=False)),
    ):
        restricted = closed(room, by="grace")
        with pytest.raises(moderation.RefusedError, match="only read"):
            moderation.check_writer(restricted, "lin")
        assert moderation.check_writer(restricted, "grace").id == "grace"
        assert moderation.check_writer(opened(restricted, by="ada"), "lin") == _GUEST
    with pytest.raises(moderation.RefusedError, match="no longer"):
        moderation.check_writer(room, "mary")


def test_cohosts(moderation: ModuleType, room: Room) -> None:
    """A guest whom the host has promoted can moderate until the host demotes them."""
    promoted = moderation.promote(room, by="ada", user_id="lin")
    assert moderation.lock(promoted, by="lin", on=True).model_extra["locked"]
    demoted = moderation.demote(promoted, by="ada", user_id="lin")
    with pytest.raises(moderation.RefusedError):
        moderation.lock(demoted, by="lin", on=True)
    with pytest.raises(UserNotFoundError):
        moderation.promote(room, by="ada", user_id="mary")


async def test_password(moderation: ModuleType, room: Room) -> None:
    """A user joins with the right password only. The hash is salted, and guests do not receive it."""
    password = "half an emoji \ud83d"
    first, second = [await moderation.hash_password(password) for _ in range(2)]
    assert first != second
    closed = moderation.set_password(room, by="grace", password_hash=first)
    for wrong in ("", "guess"):
        join = await moderation.admit(closed, _NEW, wrong)
        with pytest.raises(moderation.RefusedError, match="password"):
            join(closed)
    join = await moderation.admit(closed, _NEW, password)
    assert join(closed).user("mary") is not None
    assert "passwordHash" not in closed.to_public(include=moderation.PUBLIC).to_json()
    opened = moderation.set_password(closed, by="ada", password_hash=None)
    assert join(opened).user("mary") is not None
    changed = moderation.set_password(closed, by="ada", password_hash=second)
    with pytest.raises(moderation.RefusedError, match="password"):
        join(changed)


async def test_a_reload_needs_no_password(moderation: ModuleType, room: Room, store: Store, presence: Presence) -> None:
    """A user who is in the room connects without the password, but does not join again without it after a kick."""
    password_hash = await moderation.hash_password("secret")
    closed = await store.rooms.edit_room("A", partial(moderation.set_password, by="ada", password_hash=password_hash))
    join = await moderation.admit(closed, _GUEST, "")
    async with presence.connected("A", _GUEST, join=join) as connection:
        assert [user.id for user in connection.room.users] == [user.id for user in room.users]
    await store.rooms.edit_room("A", partial(moderation.kick, by="ada", user_id="lin"))
    with pytest.raises(moderation.RefusedError, match="password"):
        async with presence.connected("A", _GUEST, join=join):
            pass


@pytest.mark.parametrize("action", ["ban", "lock", "set_password"])
async def test_a_join_sees_the_current_rules(
    moderation: ModuleType, store: Store, presence: Presence, action: str
) -> None:
    """A user who was about to join is refused if a ban, a lock or a password was committed before the join."""
    found = await store.rooms.get_room("A")
    join = await moderation.admit(found, _NEW, "")
    arguments = {"ban": {"user_id": "mary"}, "lock": {"on": True}, "set_password": {"password_hash": "00$00"}}
    await store.rooms.edit_room("A", partial(getattr(moderation, action), by="ada", **arguments[action]))
    with pytest.raises(moderation.RefusedError):
        async with presence.connected("A", _NEW, join=join):
            pass
    found = await store.rooms.get_room("A")
    assert found is not None
    assert found.user("mary") is None


async def test_concurrent_bans(moderation: ModuleType, store: Store) -> None:
    """Concurrent bans are all stored, and none of the banned users is in the room, although each of them joins."""
    users = [User(id=f"u{number}", name=f"User {number}") for number in range(20)]
    changes = [
        change
        for user in users
        for change in (
            partial(moderation.join, user=user, matched_hash=None),
            partial(moderation.ban, by="ada", user_id=user.id),
        )
    ]
    await asyncio.gather(*(store.rooms.edit_room("A", change) for change in changes), return_exceptions=True)
    found = await store.rooms.get_room("A")
    assert found is not None
    assert sorted(found.model_extra["banned"]) == sorted(user.id for user in users)
    assert [user.id for user in found.users] == ["ada", "grace", "lin"]
