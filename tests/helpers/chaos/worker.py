"""A process of callers on a store.

`python -m chaos.worker URL NAME SEED FOLDER` runs until its standard input is closed, and then writes the pickled
histories and errors into the file `NAME` of the folder.
"""

from __future__ import annotations

import asyncio
import math
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

from wnc_store import open_store
from wnc_store_contract.faults.worker import KINDS, SETTINGS, Worker

ROOMS = ("A", "B", "C")
KEYS = {"rooms": ROOMS, "chats": ROOMS, "limits": ROOMS}


class LoggedWorker(Worker):
    """Callers whose messages are only added and cleared, as the append-only file shows without the list's contents."""

    kinds: Mapping[str, Mapping[str, float]] = {**KINDS, "chats": {"say": 8, "read": 5, "clear": 0.5}}


async def main(url: str, name: str, seed: str, folder: str) -> None:
    """Run until the standard input is closed, and write the results."""
    async with open_store(url, settings=SETTINGS) as store:
        worker = LoggedWorker([store], name, int(seed), KEYS)
        work = asyncio.ensure_future(worker.work(math.inf))
        await asyncio.to_thread(sys.stdin.read)
        worker.stop()
        await work
    (Path(folder) / name).write_bytes(pickle.dumps((worker.history, worker.errors)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
