"""Examples without a test module."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from processes import run_pytest
from redis_server import RedisServer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("where", ["memory", "redis"])
def test_the_quickstart_runs(
    where: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quickstart prints the room's host, its users and its chat, in memory and on Redis."""
    monkeypatch.setenv("WNC_STORE_URL", "memory://" if where == "memory" else redis_server.url.replace("/0", "/4"))
    runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    assert capsys.readouterr().out == "Ada ['Ada', 'Grace']\n['hello']\n"


def test_the_sqlite_backend_keeps_the_contract() -> None:
    """The third-party backend's own tests and a clause of each kind pass, run as a stranger would: in its folder."""
    clauses = (
        "a_rejoin_moves_the_user_to_the_end",
        "a_room_expires_after_24_hours",
        "messages_are_returned_oldest_first",
    )
    chosen = [f"tests/test_contract.py::TestSqlite::test_{clause}" for clause in clauses]
    run_pytest("tests/test_sqlite.py", *chosen, folder=EXAMPLES / "third_party_backend")


def test_the_sqlite_backend_is_short() -> None:
    """The modules of the third-party backend, its harness included, have at most 250 lines in total."""
    modules = (EXAMPLES / "third_party_backend/wnc_store_sqlite").glob("*.py")
    assert sum(len(module.read_text().splitlines()) for module in modules) <= 250


def test_the_sqlite_contract_is_short() -> None:
    """The whole file that runs the contract on the third-party backend has fewer than 25 lines."""
    text = (EXAMPLES / "third_party_backend/tests/test_contract.py").read_text()
    assert "StoreContract" in text
    assert len(text.splitlines()) < 25
