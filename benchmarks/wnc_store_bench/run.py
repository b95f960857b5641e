"""A complete run of the selected parts on one server, with a description of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from wnc_store import ConfigurationError, StoreError
from wnc_store_bench import ablations, contention, limit, listing, many_rooms, memory, single_client, throughput
from wnc_store_bench.contenders import IOREDIS, IOREDIS_AUTO
from wnc_store_bench.contenders.node import installed
from wnc_store_bench.goals import judge
from wnc_store_bench.options import Options, Part, ProgressCallback
from wnc_store_bench.results import Result
from wnc_store_bench.server import Target, plain_client, temporary_keys, temporary_server

_PACKAGES = (
    "wnc-store",
    "redis",
    "hiredis",
    "pydantic",
    "py-key-value-aio",
    "aiocache",
    "cashews",
    "cachetools",
    "uvloop",
)
MeasuredT = TypeVar("MeasuredT")

_IN_MEMORY: tuple[Part, ...] = ("memory", "many_rooms")


async def run(url: str | None, options: Options, progress: ProgressCallback) -> Result:
    """Measure the selected parts on the server of `url` or on a temporary server.

    Raises:
        ConfigurationError: a required program is missing, or the URL is invalid.
        StoreUnavailableError: the server cannot be reached.
    """
    result = Result(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(),
        versions=_versions(),
        options=_describe_options(url, options),
    )
    without_node = _without_node(url, options)
    if without_node is not None:
        result.notes.append(f"ioredis was skipped: {without_node}")
        others = tuple(contender for contender in options.contenders if contender not in (IOREDIS, IOREDIS_AUTO))
        options = replace(options, contenders=others)
    if set(options.parts) <= set(_IN_MEMORY):
        await _measure_memory(options, progress, result)
    else:
        with ExitStack() as stack:
            server_url = url or stack.enter_context(temporary_server())
            async with temporary_keys(server_url, options.load.callers) as target:
                async with plain_client(server_url) as client:
                    result.versions["redis-server"] = (await client.info("server"))["redis_version"]
                await _measure(target, options, progress, result)
    result.goals = judge(result.tables)
    return result


async def _measure(target: Target, options: Options, progress: ProgressCallback, result: Result) -> None:
    tables = result.tables
    if options.operations:
        tables.throughput = await _part("throughput", throughput.measure(target, options, progress), result) or []
    for part, processes in (("contention", 1), ("contention_processes", options.processes)):
        if part in options.parts:
            tables.contention += (
                await _part(part, contention.measure(target, options, progress, processes=processes), result) or []
            )
    if "single_client" in options.parts:
        tables.single_client = (
            await _part("single_client", single_client.measure(target, options, progress), result) or []
        )
    await _measure_memory(options, progress, result)
    if "listing" in options.parts:
        tables.listing = await _part("listing", listing.measure(target, options, progress), result) or []
    if "ablations" in options.parts:
        tables.ablations = await _part("ablations", ablations.measure(target, options, progress), result) or []
        crowd = _part("ablations_contention", ablations.measure_contention(target, options, progress), result)
        tables.ablations_contention = await crowd or []
    if "limit" in options.parts:
        obstacle = limit.obstacle(target.url)
        if obstacle is None:
            tables.limit = await _part("limit", limit.measure(target, options, progress), result) or []
        else:
            result.notes.append(f"the physical limit was not measured: {obstacle}")


async def _measure_memory(options: Options, progress: ProgressCallback, result: Result) -> None:
    if "memory" in options.parts:
        result.tables.memory = await _part("memory", memory.measure(options, progress), result) or []
    if "many_rooms" in options.parts:
        found = await _part("many_rooms", many_rooms.measure(options, progress), result)
        if found is not None:
            rows, facts = found
            result.tables.many_rooms, result.tables.memory_facts = rows, [facts]


async def _part(part: str, measuring: Coroutine[Any, Any, MeasuredT], result: Result) -> MeasuredT | None:
    """Return the measurements of a part. If it fails or times out, add a note and return None."""
    try:
        return await measuring
    except (StoreError, TimeoutError) as error:
        reason = "it timed out" if isinstance(error, TimeoutError) else str(error)
        result.notes.append(f"{part} was not measured: {reason}")
    return None


def _without_node(url: str | None, options: Options) -> str | None:
    """Return why ioredis is skipped, or None."""
    wanted = {"contention", "contention_processes", *options.operations} & set(options.parts)
    if not wanted or not {IOREDIS, IOREDIS_AUTO} & set(options.contenders):
        return None
    if url is not None and not url.startswith(("redis://", "rediss://")):
        return "it supports only redis:// and rediss:// URLs"
    try:
        installed()
    except ConfigurationError as error:
        return str(error)
    return None


def _describe_options(url: str | None, options: Options) -> dict[str, str]:
    """Return the options as text. Only the scheme of the URL is included."""
    return {
        "server": "a temporary redis-server" if url is None else f"the user's server ({url.partition('://')[0]}://)",
        "parts": ", ".join(options.parts),
        "contenders": ", ".join(contender.name for contender in options.contenders),
        "rounds": str(options.rounds),
        "seconds": f"{options.seconds:g}",
        "callers": str(options.load.callers),
        "rooms": str(options.load.rooms),
        "joins": f"{options.joins}, from {options.processes} processes, at most {options.join_timeout:g} s",
    }


def _machine() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["Node"] = _node_version()
    return found


def _node_version() -> str:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return "not on the PATH"
    return done.stdout.strip()
