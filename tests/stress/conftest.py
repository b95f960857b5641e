"""Fixtures of all stress tests."""

from __future__ import annotations

import functools

import pytest
import redis.utils


@pytest.fixture(scope="session", autouse=True)
def _parse_metadata_once() -> None:
    """Cache the version of redis-py, which parses the metadata of its package for each connection."""
    redis.utils.get_lib_version = functools.cache(redis.utils.get_lib_version)
