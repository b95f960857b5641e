"""The commands `wnc-store export` and `wnc-store import`."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from command_line import on_redis, program, wnc_store
from processes import run
from redis_cluster import redis_cluster
from redis_server import RedisServer, redis_server
from wnc_store import Snapshot, open_store
from wnc_store_contract.factories import message, node_record, node_records, room

SECRET = "SECRET-9f1c"
INSTALLED = shlex.quote(str(Path(sys.executable).with_name("wnc-store")))
HOUR = timedelta(hours=1)


@pytest.fixture
def urls(redis_server: RedisServer) -> Iterator[tuple[str, str]]:
    """The URLs of two databases, which are empty before and after the test."""
    pair = redis_server.url.replace("/0", "/11"), redis_server.url.replace("/0", "/12")
    for url in pair:
        on_redis(url, lambda plain: plain.flushdb())
    yield pair
    for url in pair:
        on_redis(url, lambda plain: plain.flushdb())


async def node_writes_all_records(plain: Any) -> None:
    """Store the records written by Node as the Node app does, each with a different TTL and one without."""
    unique_id = ""
    for number, name in enumerate(node_records("room")):
        record = node_record(name).decode()
        room_id = json.loads(record)["id"]
        unique_id = f"{room_id}:{number}"
        await plain.set(f"room:{unique_id}", record.replace(f'"{room_id}"', f'"{unique_id}"'))
        await plain.sadd("active-rooms", unique_id)
        if number:
            await plain.pexpire(f"room:{unique_id}", 3_600_000 + number)
    for name in node_records("message"):
        await plain.rpush("chat:x", node_record(name))
    await plain.rename("chat:x", f"chat:{unique_id}")
    await plain.pexpire(f"chat:{unique_id}", 1_800_000)


async def contents(plain: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the values of all keys, as JSON values, and their TTLs in milliseconds."""
    values: dict[str, Any] = {}
    ttls: dict[str, int] = {}
    async for key in plain.scan_iter():
        name = key.decode()
        kind = (await plain.type(key)).decode()
        if kind == "string":
            values[name] = _parsed(await plain.get(key))
        elif kind == "list":
            values[name] = [_parsed(entry) for entry in await plain.lrange(key, 0, -1)]
        else:
            values[name] = sorted(await plain.smembers(key))
        ttls[name] = await plain.pttl(key)
    return values, ttls


def _parsed(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogatepass"))


def test_a_round_trip_of_node_records(urls: tuple[str, str], tmp_path: Path) -> None:
    """Export and import keep every field and the TTLs of rooms and messages written by Node."""
    source, target = urls
    file = tmp_path / "rooms.jsonl"
    on_redis(source, node_writes_all_records)
    before, ttls_before = on_redis(source, contents)
    assert len(before) == len(node_records("room")) + 2
    stderr = wnc_store("export", source, "--output", str(file)).stderr
    assert stderr == "Exported 6 rooms with 5 messages, including host tokens.\n"
    assert wnc_store("import", target, str(file)).stderr == "Imported 6 rooms.\n"
    after, ttls_after = on_redis(target, contents)
    assert after == before
    for key, ttl in ttls_before.items():
        if ttl == -1 or key == "active-rooms":
            assert ttls_after[key] > 86_000_000, key  # a key without a TTL gets a full one
        else:
            assert ttl - 60_000 < ttls_after[key] <= ttl, key


def test_only_the_owner_can_read_the_export(urls: tuple[str, str], tmp_path: Path) -> None:
    """The export contains host tokens and has mode 0600, also if it replaces a file with other permissions."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("old")
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


def test_a_deep_room_of_node_is_exported(urls: tuple[str, str], tmp_path: Path) -> None:
    """Export, import and show accept a room that the Node app has nested 2,000 levels deep."""
    file = tmp_path / "rooms.jsonl"
    deep = node_record("room_new")[:-1] + b',"deep":' + b"[" * 2000 + b"]" * 2000 + b"}"

    async def write(plain: Any) -> None:
        await plain.set("room:A3X9K2", deep)
        await plain.sadd("active-rooms", "A3X9K2")

    async def read(plain: Any) -> bytes:
        return await plain.get("room:A3X9K2")

    on_redis(urls[0], write)
    wnc_store("export", urls[0], "--output", str(file))
    wnc_store("import", urls[1], str(file))
    assert on_redis(urls[1], read).rstrip() == deep
    assert "[" * 2000 in wnc_store("show", "A3X9K2", "--url", urls[1], "--json").stdout


def test_export_to_standard_output(urls: tuple[str, str], tmp_path: Path) -> None:
    """Without --output, standard output receives only the JSON lines, in ASCII, and they can be imported."""
    asyncio.run(_create(urls[0], "A", "B", host_name="half \ud83d", settings={"a": [1, 2.5, None]}))
    lines = wnc_store("export", urls[0]).stdout
    assert lines.isascii()
    first, *rooms, last = (json.loads(line) for line in lines.splitlines())
    assert first["wncStoreExport"] == 1
    assert last == {"rooms": 2, "messages": 2}
    assert {line["room"]["hostName"] for line in rooms} == {"half \ud83d"}
    (tmp_path / "rooms.jsonl").write_text(lines)
    wnc_store("import", urls[1], str(tmp_path / "rooms.jsonl"))
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]


def test_many_rooms(urls: tuple[str, str], tmp_path: Path) -> None:
    """All rooms are exported and imported if there are more than are read concurrently."""
    asyncio.run(_create(urls[0], *(f"room-{number}" for number in range(100))))
    file = str(tmp_path / "rooms.jsonl")
    assert "Exported 100 rooms with 100 messages" in wnc_store("export", urls[0], "--output", file).stderr
    assert "Imported 100 rooms" in wnc_store("import", urls[1], file).stderr
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]


def test_unreadable_rooms_are_skipped(urls: tuple[str, str], tmp_path: Path) -> None:
    """An unreadable room is reported and exits 1; the other rooms are exported and can be imported."""
    file = str(tmp_path / "rooms.jsonl")
    asyncio.run(_create(urls[0]))
    on_redis(urls[0], lambda plain: plain.set("room:B", SECRET))
    on_redis(urls[0], lambda plain: plain.sadd("active-rooms", "B"))
    stderr = wnc_store("export", urls[0], "--output", file, code=1).stderr
    assert re.search(r"^Skipped: .*'room:B'", stderr, re.MULTILINE)
    assert "Exported 1 room with 1 message, including host tokens. Skipped 1 unreadable room." in stderr
    assert SECRET not in stderr
    wnc_store("import", urls[1], file)


def test_rooms_that_exist(urls: tuple[str, str], tmp_path: Path) -> None:
    """An existing room is not changed and exits 1, unless --skip-existing or --overwrite is given."""
    file = str(tmp_path / "rooms.jsonl")
    asyncio.run(_create(urls[0], "A", "B", host_name="Ada"))
    asyncio.run(_create(urls[1], "A", host_name="Grace"))
    on_redis(urls[1], lambda plain: plain.rpush("chat:A", "other"))
    existing = on_redis(urls[1], lambda plain: plain.get("room:A"))
    wnc_store("export", urls[0], "--output", file)
    stderr = wnc_store("import", urls[1], file, code=1).stderr
    assert stderr == "Imported 1 room.\nSkipped 1 existing room. Use --overwrite to replace existing rooms.\n"
    assert "Imported 0 rooms" in wnc_store("import", urls[1], file, "--skip-existing").stderr
    assert on_redis(urls[1], lambda plain: plain.get("room:A")) == existing
    assert on_redis(urls[1], lambda plain: plain.llen("chat:A")) == 2
    assert "Imported 2 rooms" in wnc_store("import", urls[1], file, "--overwrite").stderr
    assert on_redis(urls[1], contents)[0] == on_redis(urls[0], contents)[0]
    assert "exclude each other" in wnc_store("import", urls[1], file, "--overwrite", "--skip-existing", code=2).stderr


def test_a_room_without_a_chat_replaces_the_chat(urls: tuple[str, str], tmp_path: Path) -> None:
    """An imported room without messages deletes the messages of the room that it replaces."""
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
        ([], "incomplete"),
        ([HEAD, GOOD], "incomplete"),
        ([HEAD, GOOD, END], "incomplete"),
        ([HEAD, GOOD, BAD, END.replace("0", "1")], "incomplete"),
        ([HEAD, GOOD, BAD, END, GOOD], "line 5"),
        ([GOOD, BAD, END], "line 1"),
        ([HEAD.replace("1", "2"), GOOD, BAD, END], "line 1"),
        ([HEAD, GOOD, BAD[:-9], END], "line 3"),
        ([HEAD, GOOD, "[" * 100_000, END], "line 3"),
        (
            [HEAD, GOOD, BAD.replace('"bad"', '"bad*"'), END],
            "line 3' can't be read and was left unchanged: invalid room id",
        ),
        ([HEAD, GOOD, BAD.replace("hostId", "host"), END], "not a Room: hostId"),
        ([HEAD, GOOD, BAD.replace("roomTtlMs", "ttl"), END], "the field 'roomTtlMs' is missing"),
        ([HEAD, GOOD, BAD.replace("3600000", '"soon"'), END], "a field has a value of the wrong type"),
        ([HEAD, GOOD, BAD.replace("3600000", "0"), END], "at least 1 millisecond"),
        ([HEAD, GOOD, BAD.replace("3600000", "1e300"), END], "a field has a value of the wrong type"),
        ([HEAD, GOOD, BAD.replace("3600000", '3600000, "chatTtlMs": 1'), END], "the field 'messages' is missing"),
    ],
)
def test_an_incomplete_or_changed_file(lines: list[str], problem: str, urls: tuple[str, str], tmp_path: Path) -> None:
    """A truncated or changed file is refused with the reason, and none of its rooms are imported."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    stderr = wnc_store("import", urls[1], str(file), code=1).stderr
    assert problem in stderr
    assert SECRET not in stderr
    assert on_redis(urls[1], contents) == ({}, {})


def test_a_file_that_is_not_utf_8(urls: tuple[str, str], tmp_path: Path) -> None:
    """A line that is not UTF-8 is refused with its number."""
    file = tmp_path / "rooms.jsonl"
    file.write_bytes(f"{HEAD}\n".encode() + b'{"room": "\xff"}\n')
    assert "line 2'" in wnc_store("import", urls[1], str(file), code=1).stderr


def test_a_pipe_from_export_to_import(urls: tuple[str, str]) -> None:
    """The installed program imports from a pipe what another process exports."""
    source, target = urls
    asyncio.run(_create(source, "A", "B"))
    line = f"{INSTALLED} export {source} | {INSTALLED} import {target} -"
    assert "Imported 2 rooms" in run("/bin/sh", "-c", line).stderr
    assert sorted(on_redis(target, contents)[0]) == ["active-rooms", "chat:A", "chat:B", "room:A", "room:B"]


def test_an_incomplete_pipe(urls: tuple[str, str]) -> None:
    """An incomplete export on standard input is refused."""
    stderr = wnc_store("import", urls[1], "-", stdin=f"{HEAD}\n{GOOD}\n".encode(), code=1).stderr
    assert "'standard input'" in stderr
    assert "the export is incomplete" in stderr
    assert on_redis(urls[1], contents) == ({}, {})


def test_files_that_cannot_be_opened(urls: tuple[str, str], tmp_path: Path) -> None:
    """A missing input file or an output file that cannot be created exits 2 with the reason."""
    missing = str(tmp_path / "none" / "rooms.jsonl")
    assert f"cannot read {missing}: No such file" in wnc_store("import", urls[1], missing, code=2).stderr
    assert (
        f"cannot write to {missing}: No such file" in wnc_store("export", urls[0], "--output", missing, code=2).stderr
    )


def test_the_url_of_an_import_may_be_anywhere(urls: tuple[str, str], tmp_path: Path) -> None:
    """`import` recognizes the URL before and after the file and in --url, and requires it."""
    file = str(tmp_path / "rooms.jsonl")
    on_redis(urls[0], node_writes_all_records)
    wnc_store("export", urls[0], "--output", file)
    for arguments in ((urls[1], file), (file, urls[1]), (file, "--url", urls[1]), ("--url", urls[1], file)):
        result = json.loads(wnc_store("import", *arguments, "--overwrite", "--json").stdout)
        assert result == {"imported": 6, "skipped": 0}
    assert json.loads(wnc_store("import", file, urls[1], "--json", code=1).stdout) == {"imported": 0, "skipped": 6}
    assert "expected the URL of the target store" in wnc_store("import", file, code=2).stderr
    assert "the argument FILE is missing" in wnc_store("import", urls[1], code=2).stderr


def test_an_import_into_memory_is_refused(tmp_path: Path) -> None:
    """An import into memory:// exits 2, because the data would be lost when the command exits."""
    file = tmp_path / "rooms.jsonl"
    file.write_text(f'{HEAD}\n{{"rooms":0,"messages":0}}\n')
    assert "would be lost" in wnc_store("import", "memory://", str(file), code=2).stderr


def test_into_a_cluster(tmp_path: Path) -> None:
    """An import into a Redis Cluster keeps the revisions, the chats and the remaining TTLs."""
    file = tmp_path / "rooms.jsonl"
    snapshots = [Snapshot(room(name, rev=7), HOUR, (message(1, name),), HOUR) for name in "ABC"]
    lines = [HEAD, *(json.dumps(snapshot.to_json()) for snapshot in snapshots), '{"rooms":3,"messages":3}']
    file.write_text("\n".join(lines))
    with redis_cluster(replicas=0) as cluster:
        assert "does not support restore" not in wnc_store("import", cluster.url, str(file)).stderr
        _, *exported, _ = map(json.loads, wnc_store("export", cluster.url).stdout.splitlines())
    assert sorted(line["room"]["id"] for line in exported) == ["A", "B", "C"]
    assert {line["room"]["rev"] for line in exported} == {7}
    assert all(3_000_000 < line["roomTtlMs"] <= 3_600_000 and len(line["messages"]) == 1 for line in exported)


def contents_after_failed_import(url: str, tmp_path: Path, snapshot: Snapshot, *options: str) -> list[str]:
    """Import one room that fails, and return the host name and the message ids of the room after that."""
    file = tmp_path / "rooms.jsonl"
    messages = len(snapshot.messages)
    file.write_text("\n".join([HEAD, json.dumps(snapshot.to_json()), f'{{"rooms":1,"messages":{messages}}}']))
    assert "Imported 0 rooms, then room 'A' failed." in wnc_store("import", url, str(file), *options, code=1).stderr

    async def read() -> list[str]:
        async with open_store(url) as store:
            found = await store.rooms.get_room("A")
            return [
                *([found.host_name] if found else ()),
                *(stored.id for stored in await store.chat.get_messages("A")),
            ]

    return asyncio.run(read())


def test_a_failed_import_leaves_no_partial_room(tmp_path: Path) -> None:
    """If a room cannot be recreated, a new room is removed and an existing room is not changed."""
    url = f"sqlite://{tmp_path}/rooms.db"
    long = Snapshot(room("A"), HOUR, (message(1, "A"), message(2, "A", message="x" * 20_000)), HOUR)
    assert contents_after_failed_import(url, tmp_path, long) == []
    asyncio.run(_create(url, "A"))
    before = ["Name of host", "m1"]
    named = Snapshot(room("A", host_name="x" * 1000), HOUR, (message(2, "A"),), HOUR)
    assert contents_after_failed_import(url, tmp_path, named, "--overwrite") == before


def test_a_closed_standard_input_is_reported(urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An import from a closed standard input exits 2 with the reason."""
    monkeypatch.setattr(sys, "stdin", None)
    assert "cannot read standard input: the stream is closed" in program("import", urls[1], "-", code=2)


def test_an_export_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """If the server is unavailable, the existing file is not changed and no temporary file remains."""
    file = tmp_path / "rooms.jsonl"
    file.write_text("old")
    with redis_server() as server:
        pass
    wnc_store("export", server.url, "--output", str(file), code=3)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rooms.jsonl", "old")]


def test_an_interrupted_import_can_be_continued(tmp_path: Path) -> None:
    """A failed write reports the number of imported rooms, and --skip-existing continues the import."""
    file = tmp_path / "rooms.jsonl"
    snapshots = [Snapshot(room(f"r{number}", host_name="x" * 30_000), HOUR) for number in range(320)]
    lines = [HEAD, *(json.dumps(snapshot.to_json()) for snapshot in snapshots), '{"rooms":320,"messages":0}']
    file.write_text("\n".join(lines))
    with redis_server("--maxmemory", "6mb") as server:
        stderr = wnc_store("import", server.url, str(file), code=3).stderr
        assert "failed. Run it again with --skip-existing to continue." in stderr
        imported = int(stderr.split()[1])
        assert on_redis(server.url, lambda plain: plain.scard("active-rooms")) >= imported > 0
        on_redis(server.url, lambda plain: plain.config_set("maxmemory", "100mb"))
        wnc_store("import", server.url, str(file), "--skip-existing")
        assert on_redis(server.url, lambda plain: plain.scard("active-rooms")) == 320


def test_a_backend_without_restore(tmp_path: Path) -> None:
    """A backend without restore recreates rooms with a full TTL and the next rev, and the command reports that."""
    file, url = tmp_path / "rooms.jsonl", f"sqlite://{tmp_path}/rooms.db"
    snapshot = Snapshot(room("A", rev=7, settings={"a": 1}), HOUR, (message(1, "A"), message(2, "A")), HOUR)
    file.write_text("\n".join([HEAD, json.dumps(snapshot.to_json()), '{"rooms":1,"messages":2}']))
    for option, rev in (((), 8), (("--overwrite",), 9)):
        assert "does not support restore" in wnc_store("import", url, str(file), *option).stderr
        lines = wnc_store("export", url).stdout.splitlines()
        exported = json.loads(lines[1])
        assert exported["room"] == {**snapshot.room.to_json(), "rev": rev}
        assert exported["messages"] == [stored.to_json() for stored in snapshot.messages]
        assert exported["roomTtlMs"] > 86_000_000
    assert "Imported 0 rooms" in wnc_store("import", url, str(file), code=1).stderr
