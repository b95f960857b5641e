"""A complete run of the selected parts on one server, with a description of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from wnc_store import ConfigurationError, StoreError
from wnc_store_bench import ablations, backends, contention, counts, memory, throughput
from wnc_store_bench.contenders import IOREDIS, IOREDIS_AUTO
from wnc_store_bench.contenders.node import installed
from wnc_store_bench.interpreter import is_optimised
from wnc_store_bench.options import Options, ProgressCallback
from wnc_store_bench.postgres import describe, temporary_rows
from wnc_store_bench.results import Result
from wnc_store_bench.server import (
    Target,
    driver_url,
    plain_client,
    server_version,
    temporary_keys,
    temporary_server,
)

Measure = Callable[[Target, Options, ProgressCallback], Awaitable[Sequence[BaseModel]]]

MEASUREMENTS: dict[str, Measure] = {
    "throughput": throughput.under_load,
    "fixed_rate": throughput.at_fixed_rate,
    "single_client": throughput.of_one_caller,
    "contention": contention.measure,
    "backends": backends.measure,
    "backend_joins": backends.measure_joins,
    "memory": memory.measure,
    "counts": counts.measure,
    "ablations": ablations.measure,
    "group_commit": ablations.measure_group_commit,
}
"""The function that measures each part. Its rows become the table of the same name."""

_WITH_CONTENDERS = {"throughput", "fixed_rate", "single_client", "contention"}
_WITH_POSTGRES = {"backends", "backend_joins", "counts"}
_PACKAGES = ("wnc-store", "redis", "hiredis", "asyncpg", "pydantic", "cachetools")


async def run(url: str | None, options: Options, progress: ProgressCallback, postgres_url: str | None = None) -> Result:
    """Measure the selected parts on the server of `url` or on a temporary server, and on Postgres if there is a URL.

    Raises:
        ConfigurationError: a required program is missing, or a URL is invalid.
        StoreUnavailableError: a server cannot be reached.
    """
    result = Result(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(),
        versions=_versions(),
        options=_describe_options(url, options),
    )
    if not is_optimised():
        result.notes.append(
            "this Python was built without --enable-optimizations, which slows down every contender in Python: "
            "compare it with Node only on an optimised one"
        )
    with ExitStack() as stack:
        server_url = driver_url(url) if url else stack.enter_context(temporary_server())
        async with (
            temporary_keys(server_url, options.load.callers, options.key_prefix) as target,
            temporary_rows(postgres_url, target) as postgres,
        ):
            options = _without_missing_node(target, replace(options, postgres=postgres), result)
            if postgres is not None:
                result.versions["PostgreSQL"] = await describe(postgres.url)
            elif _WITH_POSTGRES & set(options.parts):
                result.notes.append("Postgres was skipped: pass the URL of a database with --postgres")
            async with plain_client(server_url) as client:
                program, version_number = server_version(await client.info("server"))
                result.versions[program] = version_number
            for part in options.parts:
                await _measure(part, target, options, progress, result)
    return result


async def _measure(part: str, target: Target, options: Options, progress: ProgressCallback, result: Result) -> None:
    """Fill the table of a part. If the part fails or times out, add a note instead."""
    try:
        setattr(result.tables, part, await MEASUREMENTS[part](target, options, progress))
    except (StoreError, TimeoutError) as error:
        reason = "it timed out" if isinstance(error, TimeoutError) else str(error)
        result.notes.append(f"{part} was not measured: {reason}")


def _without_missing_node(target: Target, options: Options, result: Result) -> Options:
    """Leave ioredis out with a note if it cannot run."""
    others = tuple(contender for contender in options.contenders if contender not in (IOREDIS, IOREDIS_AUTO))
    if others == options.contenders or not _WITH_CONTENDERS & set(options.parts):
        return options
    problem = _node_problem(target.url)
    if problem is None:
        return options
    result.notes.append(f"ioredis was skipped: {problem}")
    return replace(options, contenders=others)


def _node_problem(url: str) -> str | None:
    if not url.startswith(("redis://", "rediss://")):
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
        "fixed rate": f"{options.rate:g} joins/s",
        "joins of one room": f"{options.joins}, from one and from {options.processes} processes",
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
    packages = {name: version(name) for name in _PACKAGES}
    return {"Python": platform.python_version(), **packages, "Node": _node_version()}


def _node_version() -> str:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return "not on the PATH"
    return done.stdout.strip()
