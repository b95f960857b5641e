"""Export and import: what is kept, what is refused, and what a file may not do."""

from __future__ import annotations

import asyncio
import json
import shlex
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from command_line import program, wnc_store
from processes import run
from redis_cluster import redis_cluster
from redis_server import RedisServer, redis_server
from wnc_store import Snapshot, open_store
from wnc_store_contract.factories import message, node_record, node_records, room

SECRET = "SECRET-9f1c"
INSTALLED = shlex.quote(str(Path(sys.executable).with_name("wnc-store")))
HOUR = timedelta(hours=1)


def on_redis(url: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something behind the store's back."""

    async def run() -> Any:
        plain: Any = Redis.from_url(url)  # pyright: ignore[reportUnknownMemberType]
        async with plain:
            return await work(plain)

    return asyncio.run(run())


@pytest.fixture
def urls(redis_server: RedisServer) -> Iterator[tuple[str, str]]:
    """Two databases, to move rooms from the one to the other; empty at first and at last."""
    pair = redis_server.url.replace("/0", "/11"), redis_server.url.replace("/0", "/12")
    for url in pair:
        on_redis(url, lambda plain: plain.flushdb())
    yield pair
    for url in pair:
        on_redis(url, lambda plain: plain.flushdb())


async def node_writes_all_records(plain: Any) -> None:
    """Store the rooms and the messages that Node wrote, as Node does, with TTLs of their own; one has no end."""
    own_id = ""
    for number, name in enumerate(node_records("room")):
        record = node_record(name).decode()
        room_id = json.loads(record)["id"]
        own_id = f"{room_id}:{number}"
        await plain.set(f"room:{own_id}", record.replace(f'"{room_id}"', f'"{own_id}"'))
        await plain.sadd("active-rooms", own_id)
        if number:
            await plain.pexpire(f"room:{own_id}", 3_600_000 + number)
    for name in node_records("message"):
        await plain.rpush("chat:x", node_record(name))
    await plain.rename("chat:x", f"chat:{own_id}")
    await plain.pexpire(f"chat:{own_id}", 1_800_000)


async def contents(plain: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what all keys hold, as JSON values, and their TTLs."""
    held: dict[str, Any] = {}
    lefts: dict[str, int] = {}
    async for key in plain.scan_iter():
        name = key.decode()
        kind = (await plain.type(key)).decode()
        if kind == "string":
            held[name] = _parsed(await plain.get(key))
        elif kind == "list":
            held[name] = [_parsed(entry) for entry in await plain.lrange(key, 0, -1)]
        else:
            held[name] = sorted(await plain.smembers(key))
        lefts[name] = await plain.pttl(key)
    return held, lefts


def _parsed(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))


def test_what_node_wrote_makes_the_round_trip(urls: tuple[str, str], tmp_path: Path) -> None:
    """Rooms and messages that Node wrote are the same after export and import, in every field, and as long-lived."""
    source, target = urls
    file = tmp_path / "rooms.jsonl"
    on_redis(source, node_writes_all_records)
    before, lefts = on_redis(source, contents)
    assert len(before) == len(node_records("room")) + 2
    told = wnc_store("export", source, "--output", str(file)).stderr
    assert told == "exported 6 rooms with 5 messages, host tokens included\n"
    assert wnc_store("import", target, str(file)).stderr == "imported 6 rooms\n"
    after, kept = on_redis(target, contents)
    assert after == before
    for key, left in lefts.items():
        if left == -1 or key == "active-rooms":
            assert kept[key] > 86_000_000, key  # what had no end is given a full TTL
        else:
            assert left - 60_000 < kept[key] <= left, key


def test_a_file_is_its_owners(urls: tuple[str, str], tmp_path: Path) -> None:
    """The file holds the host tokens, so nobody but its owner may read it, also if it replaces one that others may."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("of old")
    file.chmod(0o644)
    asyncio.run(_create(urls[0], host_token=SECRET))
    wnc_store("export", urls[0], "--output", str(file))
    assert SECRET in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["rooms.jsonl"]


async def _create(url: str, *room_ids: str, **fields: Any) -> None:
    async with open_store(url) as store:
        for room_id in room_ids or ("A",):
            await store.rooms.create_room(room(room_id, "host", **fields))
            await store.chat.add_message(message(1, room_id))


def test_export_to_standard_output(urls: tuple[str, str], tmp_path: Path) -> None:
    """Without a file the lines go to standard output and nothing else does; they are pure ASCII and can be imported."""
    asyncio.run(_create(urls[0], "A", "B", host_name="half \ud83d", settings={"a": [1, 2.5, None]}))
    lines = wnc_store("export", urls[0]).stdout
    assert lines.isascii()
    first, *rooms, last = (json.loads(line) for line in lines.splitlines())
    assert first["wncStoreExport"] == 1
    assert last == {"rooms": 2, "messages": 2}
    assert {one["room"]["hostName"] for one in rooms} == {"half \ud83d"}
    (tmp_path / "rooms.jsonl").write_text(lines)
    wnc_store("import", urls[1], str(tmp_path / "rooms.jsonl"))
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]


def test_many_rooms(urls: tuple[str, str], tmp_path: Path) -> None:
    """More rooms than are read at once are all exported and imported."""
    asyncio.run(_create(urls[0], *(f"room-{number}" for number in range(100))))
    file = str(tmp_path / "rooms.jsonl")
    assert "exported 100 rooms with 100 messages" in wnc_store("export", urls[0], "--output", file).stderr
    assert "imported 100 rooms" in wnc_store("import", urls[1], file).stderr
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]


def test_what_can_not_be_read_is_left_out(urls: tuple[str, str], tmp_path: Path) -> None:
    """A room that can't be read is named and makes the exit code 1; the others are exported, and can be imported."""
    file = str(tmp_path / "rooms.jsonl")
    asyncio.run(_create(urls[0]))
    on_redis(urls[0], lambda plain: plain.set("room:B", SECRET))
    on_redis(urls[0], lambda plain: plain.sadd("active-rooms", "B"))
    told = wnc_store("export", urls[0], "--output", file, code=1).stderr
    assert "left out: the record at 'room:B' can't be read" in told
    assert "exported 1 room with 1 message, host tokens included; 1 room can't be read" in told
    assert SECRET not in told
    wnc_store("import", urls[1], file)


def test_rooms_that_exist(urls: tuple[str, str], tmp_path: Path) -> None:
    """A room that exists is left as it is: an error, unless it is to be skipped or overwritten."""
    file = str(tmp_path / "rooms.jsonl")
    asyncio.run(_create(urls[0], "A", "B", host_name="Ada"))
    asyncio.run(_create(urls[1], "A", host_name="Grace"))
    on_redis(urls[1], lambda plain: plain.rpush("chat:A", "one more"))
    kept = on_redis(urls[1], lambda plain: plain.get("room:A"))
    wnc_store("export", urls[0], "--output", file)
    told = wnc_store("import", urls[1], file, code=1).stderr
    assert told == "imported 1 room\nleft as it was: 1 room of an id that exists (--overwrite replaces it)\n"
    assert "imported 0 rooms" in wnc_store("import", urls[1], file, "--skip-existing").stderr
    assert on_redis(urls[1], lambda plain: plain.get("room:A")) == kept
    assert on_redis(urls[1], lambda plain: plain.llen("chat:A")) == 2
    assert "imported 2 rooms" in wnc_store("import", urls[1], file, "--overwrite").stderr
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]
    assert "choose one" in wnc_store("import", urls[1], file, "--overwrite", "--skip-existing", code=2).stderr


def test_a_room_without_a_chat_ends_the_chat_of_old(urls: tuple[str, str], tmp_path: Path) -> None:
    """A room that was exported without messages has none after it replaced one that had some."""
    file = str(tmp_path / "rooms.jsonl")
    for url in urls:
        asyncio.run(_create(url))
    on_redis(urls[0], lambda plain: plain.delete("chat:A"))
    wnc_store("export", urls[0], "--output", file)
    wnc_store("import", urls[1], file, "--overwrite")
    assert on_redis(urls[1], lambda plain: plain.exists("chat:A")) == 0


HEAD = '{"wncStoreExport":1}'
GOOD, BAD = (json.dumps(Snapshot(room(room_id, host_token=SECRET), HOUR).to_json()) for room_id in ("good", "bad"))
END = '{"rooms":2,"messages":0}'


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([], "not whole"),
        ([HEAD, GOOD], "not whole"),
        ([HEAD, GOOD, END], "not whole"),
        ([HEAD, GOOD, BAD, END.replace("0", "1")], "not whole"),
        ([HEAD, GOOD, BAD, END, GOOD], "line 5"),
        ([GOOD, BAD, END], "line 1"),
        ([HEAD.replace("1", "2"), GOOD, BAD, END], "line 1"),
        ([HEAD, GOOD, BAD[:-9], END], "line 3"),
        ([HEAD, GOOD, "[" * 100_000, END], "line 3"),
        (
            [HEAD, GOOD, BAD.replace('"bad"', '"bad*"'), END],
            "line 3' can't be read and was left as it is: invalid room id",
        ),
        ([HEAD, GOOD, BAD.replace("hostId", "host"), END], "not a Room: hostId"),
        ([HEAD, GOOD, BAD.replace("roomTtlMs", "ttl"), END], "it has no 'roomTtlMs'"),
        ([HEAD, GOOD, BAD.replace("3600000", '"soon"'), END], "a field holds what it can't be"),
        ([HEAD, GOOD, BAD.replace("3600000", "0"), END], "less than a millisecond"),
        ([HEAD, GOOD, BAD.replace("3600000", "1e300"), END], "a field holds what it can't be"),
        ([HEAD, GOOD, BAD.replace("3600000", '3600000, "chatTtlMs": 1'), END], "it has no 'messages'"),
    ],
)
def test_a_file_that_is_not_whole(lines: list[str], problem: str, urls: tuple[str, str], tmp_path: Path) -> None:
    """A file that was cut off or changed is refused with what is wrong, and not even its good rooms are imported."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    told = wnc_store("import", urls[1], str(file), code=1).stderr
    assert problem in told
    assert SECRET not in told
    assert on_redis(urls[1], contents) == ({}, {})


def test_a_file_that_is_no_text(urls: tuple[str, str], tmp_path: Path) -> None:
    """A line that is no UTF-8 is refused as any other that is no JSON, with its number."""
    file = tmp_path / "rooms.jsonl"
    file.write_bytes(f"{HEAD}\n".encode() + b'{"room": "\xff"}\n')
    assert "line 2' can't be read" in wnc_store("import", urls[1], str(file), code=1).stderr


def test_what_comes_through_a_pipe(urls: tuple[str, str]) -> None:
    """What one installed command exports another imports through a pipe."""
    source, target = urls
    asyncio.run(_create(source, "A", "B"))
    line = f"{INSTALLED} export {source} | {INSTALLED} import {target} -"
    assert "imported 2 rooms" in run("/bin/sh", "-c", line).stderr
    assert sorted(on_redis(target, contents)[0]) == ["active-rooms", "chat:A", "chat:B", "room:A", "room:B"]


def test_what_was_cut_off_in_a_pipe(urls: tuple[str, str]) -> None:
    """What ends too soon on standard input is not imported."""
    told = wnc_store("import", urls[1], "-", given=f"{HEAD}\n{GOOD}\n".encode(), code=1).stderr
    assert "'standard input'" in told
    assert "it is not whole" in told
    assert on_redis(urls[1], contents) == ({}, {})


def test_files_that_can_not_be_opened(urls: tuple[str, str], tmp_path: Path) -> None:
    """A file that is not there, or can't be written, is a mistake in the command and told as such."""
    missing = str(tmp_path / "none" / "rooms.jsonl")
    assert "can't be read: No such file" in wnc_store("import", urls[1], missing, code=2).stderr
    assert "can't be written: No such file" in wnc_store("export", urls[0], "--output", missing, code=2).stderr


def test_the_store_comes_first(tmp_path: Path) -> None:
    """A file in the place of the store is told, and the store's password is not."""
    told = wnc_store("import", str(tmp_path / "rooms.jsonl"), f"redis://:{SECRET}@localhost/0", code=2).stderr
    assert told == "error: the store comes first: wnc-store import URL FILE\n"
    assert "the store comes first" in wnc_store("import", "rooms.jsonl", "memory://", code=2).stderr


def test_a_commands_own_memory_takes_no_rooms(tmp_path: Path) -> None:
    """What would be gone when the command ends is not imported."""
    file = tmp_path / "rooms.jsonl"
    file.write_text(f'{HEAD}\n{{"rooms":0,"messages":0}}\n')
    assert "would be gone" in wnc_store("import", "memory://", str(file), code=2).stderr


def test_into_a_cluster(tmp_path: Path) -> None:
    """A cluster can't restore: rooms go into it with a full TTL and one more revision, and it is said."""
    file = tmp_path / "rooms.jsonl"
    snapshots = [Snapshot(room(name, rev=7), HOUR, (message(1, name),), HOUR) for name in "ABC"]
    lines = [HEAD, *(json.dumps(snapshot.to_json()) for snapshot in snapshots), '{"rooms":3,"messages":3}']
    file.write_text("\n".join(lines))
    with redis_cluster(replicas=0) as cluster:
        assert "this backend can't restore" in wnc_store("import", cluster.url, str(file)).stderr
        _, *found, _ = map(json.loads, wnc_store("export", cluster.url).stdout.splitlines())
    assert sorted(one["room"]["id"] for one in found) == ["A", "B", "C"]
    assert {one["room"]["rev"] for one in found} == {8}
    assert all(one["roomTtlMs"] > 86_000_000 and len(one["messages"]) == 1 for one in found)


def imported_with_a_refusal(url: str, tmp_path: Path, snapshot: Snapshot, *options: str) -> list[str]:
    """Import one room into a store that refuses something of it, and return the room and its messages."""
    file = tmp_path / "rooms.jsonl"
    messages = len(snapshot.messages)
    file.write_text("\n".join([HEAD, json.dumps(snapshot.to_json()), f'{{"rooms":1,"messages":{messages}}}']))
    assert "0 rooms had been imported when 'A' failed" in wnc_store("import", url, str(file), *options, code=1).stderr

    async def look() -> list[str]:
        async with open_store(url) as store:
            found = await store.rooms.get_room("A")
            return [*([found.host_name] if found else ()), *(one.id for one in await store.chat.get_messages("A"))]

    return asyncio.run(look())


def test_a_refusal_halfway_leaves_no_half_a_room(tmp_path: Path) -> None:
    """Where rooms begin anew, one whose chat is refused is not there, and one to be replaced is as it was."""
    url = f"sqlite://{tmp_path}/rooms.db"
    long = Snapshot(room("A"), HOUR, (message(1, "A"), message(2, "A", message="x" * 20_000)), HOUR)
    assert imported_with_a_refusal(url, tmp_path, long) == []
    asyncio.run(_create(url, "A"))
    before = ["Name of host", "m1"]
    named = Snapshot(room("A", host_name="x" * 1000), HOUR, (message(2, "A"),), HOUR)
    assert imported_with_a_refusal(url, tmp_path, named, "--overwrite") == before


def test_a_closed_standard_input_is_told(urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard input is closed, that is said."""
    monkeypatch.setattr(sys, "stdin", None)
    assert "it is closed" in program("import", urls[1], "-", code=2)


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """When the server is away, the file of old is left as it was, and no other is there."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("of old")
    with redis_server() as server:
        pass
    wnc_store("export", server.url, "--output", str(file), code=3)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rooms.jsonl", "of old")]


def test_an_import_that_is_broken_off(tmp_path: Path) -> None:
    """When a write fails, the error says so and how much had been imported, and the import can be gone on with."""
    file = tmp_path / "rooms.jsonl"
    snapshots = [Snapshot(room(f"r{number}", host_name="x" * 30_000), HOUR) for number in range(320)]
    lines = [HEAD, *(json.dumps(snapshot.to_json()) for snapshot in snapshots), '{"rooms":320,"messages":0}']
    file.write_text("\n".join(lines))
    with redis_server("--maxmemory", "6mb") as server:
        told = wnc_store("import", server.url, str(file), code=3).stderr
        assert "failed: --skip-existing goes on from there" in told
        imported = int(told.split()[0])
        assert on_redis(server.url, lambda plain: plain.scard("active-rooms")) >= imported > 0
        on_redis(server.url, lambda plain: plain.config_set("maxmemory", "100mb"))
        wnc_store("import", server.url, str(file), "--skip-existing")
        assert on_redis(server.url, lambda plain: plain.scard("active-rooms")) == 320


def test_a_backend_that_can_not_restore(tmp_path: Path) -> None:
    """Rooms go into any backend: where it can't restore, with a full TTL and one more revision, and it is said."""
    file, url = tmp_path / "rooms.jsonl", f"sqlite://{tmp_path}/rooms.db"
    snapshot = Snapshot(room("A", rev=7, settings={"a": 1}), HOUR, (message(1, "A"), message(2, "A")), HOUR)
    file.write_text("\n".join([HEAD, json.dumps(snapshot.to_json()), '{"rooms":1,"messages":2}']))
    for option, rev in (((), 8), (("--overwrite",), 9)):
        assert "this backend can't restore" in wnc_store("import", url, str(file), *option).stderr
        lines = wnc_store("export", url).stdout.splitlines()
        found = json.loads(lines[1])
        assert found["room"] == {**snapshot.room.to_json(), "rev": rev}
        assert found["messages"] == [one.to_json() for one in snapshot.messages]
        assert found["roomTtlMs"] > 86_000_000
    assert "imported 0 rooms" in wnc_store("import", url, str(file), code=1).stderr
