"""Fixtures of the tests of recipes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from chaos.server import emptied
from redis_server import RedisServer
from serving import RECIPES, Load


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Import a recipe as uvicorn does, because Litestar looks up the module of its handlers."""
    monkeypatch.setattr(sys, "path", [str(RECIPES), *sys.path])

    def load(name: str) -> Any:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


@pytest.fixture(params=["memory", "redis"])
async def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """The URL of the store in the environment, which is empty before and after the test."""
    if request.param == "memory":
        monkeypatch.setenv("WNC_STORE_URL", "memory://")
        yield "memory://"
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    url = server.url.replace("/0", "/8")
    monkeypatch.setenv("WNC_STORE_URL", url)
    async with emptied(url):
        yield url
