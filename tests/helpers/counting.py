"""What a server has done between two moments."""

from __future__ import annotations

from typing import Any


class Counter:
    """Counts what the server does between two moments, but for its own client's questions."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._before: dict[str, int] = {}

    async def start(self) -> None:
        """Begin to count."""
        self._before = await self._now()

    async def since(self) -> dict[str, int]:
        """Return what was done since the start: commands by name, and `reads` of sockets, where it was anything."""
        now = await self._now()
        counted = {name: count - self._before.get(name, 0) for name, count in now.items()}
        counted["reads"] -= 2  # INFO and INFO
        return {name: count for name, count in counted.items() if count and name not in {"info", "config|resetstat"}}

    async def _now(self) -> dict[str, int]:
        stats = await self._client.info("commandstats")
        reads = (await self._client.info("stats"))["total_reads_processed"]
        return {"reads": reads, **{name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}}
