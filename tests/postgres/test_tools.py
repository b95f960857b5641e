"""The command line, OpenTelemetry and the watch party on Postgres."""

from __future__ import annotations

import json

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from command_line import on_store, wnc_store
from every_operation import SECRETS, operations, refusals
from postgres_server import PostgresServer
from wnc_store import open_store
from wnc_store.otel import instrument
from wnc_store_contract._process import Request, load_harness
from wnc_store_contract.factories import room
from wnc_store_contract.postgres import PostgresHarness


async def test_each_operation_has_a_span(url: str) -> None:
    """Each operation has a span with the system's name by the conventions, and no span contains data."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with instrument(open_store(url), tracer_provider=provider) as store:
        assert await refusals(store) == []
    spans = exporter.get_finished_spans()
    assert operations() <= {span.name for span in spans}
    assert {str((span.attributes or {})["db.system.name"]) for span in spans} == {"postgresql"}
    text = json.dumps([span.to_json() for span in spans])
    assert [secret for secret in SECRETS if secret in text] == []
    provider.shutdown()


async def test_verify_writes_under_a_key_prefix(postgres_server: PostgresServer) -> None:
    """With --key-prefix, each harness of a URL has a unique key prefix that begins with it."""
    entry = "wnc_store_contract.postgres:PostgresHarness"
    request = Request(entry, postgres_server.url(), None, False, True, key_prefix="app:")
    prefixes: set[str] = set()
    for _ in range(2):
        harness = load_harness(request)()
        assert isinstance(harness, PostgresHarness)
        prefixes.add(harness.key_prefix)
        await harness.aclose()
    assert len(prefixes) == 2
    assert [prefix[:17] for prefix in prefixes] == ["app:wnc-contract-"] * 2


def test_verify_refuses_a_database_with_rooms(url: str) -> None:
    """`verify` refuses a database whose tables have rows, and with --allow-nonempty leaves those rows unchanged."""
    on_store(url, lambda store: store.rooms.create_room(room("KEPT")))
    only = ("--only", "ping_succeeds")
    assert "not empty: they contain 2 rows" in wnc_store("verify", url, *only, code=2).stderr
    wnc_store("verify", url, *only, "--allow-nonempty")
    assert "KEPT" in wnc_store("rooms", "--url", url).stdout


def test_top(url: str) -> None:
    """`top --once` prints the rooms of the server."""
    on_store(url, lambda store: store.rooms.create_room(room("A", "host", "guest")))
    sample = json.loads(wnc_store("top", url, "--once", "--json").stdout)
    assert (sample["rooms"], sample["users"], sample["unreadable"]) == (1, 2, 0)
    assert sample["busiest"][0]["id"] == "A"
