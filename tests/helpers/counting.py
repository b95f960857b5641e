"""Counts of the commands that a server has processed."""

from __future__ import annotations

from typing import Any


class Counter:
    """Counts the commands and reads of a server, except those of this client."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._before: dict[str, int] = {}

    async def start(self) -> None:
        """Start counting."""
        self._before = await self._now()

    async def since(self) -> dict[str, int]:
        """Return the counts since the start that are not zero: commands by name, and `reads` of sockets."""
        now = await self._now()
        counted = {name: count - self._before.get(name, 0) for name, count in now.items()}
        counted["reads"] -= 2  # the two INFO commands of this client
        return {name: count for name, count in counted.items() if count and name not in {"info", "config|resetstat"}}

    async def _now(self) -> dict[str, int]:
        stats = await self._client.info("commandstats")
        reads = (await self._client.info("stats"))["total_reads_processed"]
        return {"reads": reads, **{name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}}
