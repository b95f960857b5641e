"""A whole run: all parts that are asked for, on one server, and what is to be said of the machine."""

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
from wnc_store_bench.options import Options, Part, Tell
from wnc_store_bench.results import Result
from wnc_store_bench.server import Place, own_keys, own_server, plain_client
from wnc_store_bench.targets import judge

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


async def run(url: str | None, options: Options, tell: Tell) -> Result:
    """Measure what `options` ask for, on the server of `url` or on one of our own.

    Raises:
        ConfigurationError: something needed is missing, or the URL is wrong.
        StoreUnavailableError: the server can't be reached.
    """
    result = Result(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(),
        versions=_versions(),
        options=_told(url, options),
    )
    without_node = _without_node(url, options)
    if without_node is not None:
        result.notes.append(f"ioredis took no part: {without_node}")
        others = tuple(one for one in options.contenders if one not in (IOREDIS, IOREDIS_AUTO))
        options = replace(options, contenders=others)
    if set(options.parts) <= set(_IN_MEMORY):
        await _measure_memory(options, tell, result)
    else:
        with ExitStack() as stack:
            where = url or stack.enter_context(own_server())
            async with own_keys(where, options.load.callers) as place:
                async with plain_client(where) as client:
                    result.versions["redis-server"] = (await client.info("server"))["redis_version"]
                await _measure(place, options, tell, result)
    result.targets = judge(result.tables)
    return result


async def _measure(place: Place, options: Options, tell: Tell, result: Result) -> None:
    tables = result.tables
    if options.operations:
        tables.throughput = await _part("throughput", throughput.measure(place, options, tell), result) or []
    for part, processes in (("crowd", 1), ("crowd_processes", options.processes)):
        if part in options.parts:
            tables.crowd += (
                await _part(part, contention.measure(place, options, tell, processes=processes), result) or []
            )
    if "lonely" in options.parts:
        tables.lonely = await _part("lonely", single_client.measure(place, options, tell), result) or []
    await _measure_memory(options, tell, result)
    if "listing" in options.parts:
        tables.listing = await _part("listing", listing.measure(place, options, tell), result) or []
    if "ablations" in options.parts:
        tables.ablations = await _part("ablations", ablations.measure(place, options, tell), result) or []
        crowd = _part("ablations, a crowd,", ablations.measure_crowd(place, options, tell), result)
        tables.ablations_crowd = await crowd or []
    if "limit" in options.parts:
        obstacle = limit.obstacle(place.url)
        if obstacle is None:
            tables.limit = await _part("limit", limit.measure(place, options, tell), result) or []
        else:
            result.notes.append(f"the physical limit was not measured: {obstacle}")


async def _measure_memory(options: Options, tell: Tell, result: Result) -> None:
    if "memory" in options.parts:
        result.tables.memory = await _part("memory", memory.measure(options, tell), result) or []
    if "many_rooms" in options.parts:
        found = await _part("many_rooms", many_rooms.measure(options, tell), result)
        if found is not None:
            rows, facts = found
            result.tables.many_rooms, result.tables.memory_facts = rows, [facts]


async def _part(part: str, measuring: Coroutine[Any, Any, MeasuredT], result: Result) -> MeasuredT | None:
    """Return what a part has measured; a part that fails, or takes too long, is noted and loses no other part."""
    try:
        return await measuring
    except (StoreError, TimeoutError) as error:
        reason = "it took too long" if isinstance(error, TimeoutError) else str(error)
        result.notes.append(f"{part} was not measured: {reason}")
    return None


def _without_node(url: str | None, options: Options) -> str | None:
    """Say why ioredis takes no part, if it can't."""
    wanted = {"crowd", "crowd_processes", *options.operations} & set(options.parts)
    if not wanted or not {IOREDIS, IOREDIS_AUTO} & set(options.contenders):
        return None
    if url is not None and not url.startswith(("redis://", "rediss://")):
        return "it takes redis:// and rediss:// URLs only"
    try:
        installed()
    except ConfigurationError as error:
        return str(error)
    return None


def _told(url: str | None, options: Options) -> dict[str, str]:
    """Return the options as text; of a URL nothing is told but its scheme."""
    return {
        "server": "its own redis-server" if url is None else f"a server of the user's ({url.partition('://')[0]}://)",
        "parts": ", ".join(options.parts),
        "contenders": ", ".join(contender.name for contender in options.contenders),
        "rounds": str(options.rounds),
        "seconds": f"{options.seconds:g}",
        "callers": str(options.load.callers),
        "rooms": str(options.load.rooms),
        "crowd": f"{options.crowd}, from {options.processes} processes, at most {options.crowd_bound:g} s",
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
