"""Callers on a store, with a record of each call and its outcome.

`python -m chaos.worker URL NAME SEED FOLDER` runs until its standard input is closed, and then writes the pickled
histories and errors into the file `NAME` of the folder.
"""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from chaos.history import Answer, Operation, Result, View
from wnc_store import (
    ChatMessage,
    ConflictError,
    OutcomeUnknownError,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    Store,
    StoreSettings,
    StoreUnavailableError,
    User,
    VideoState,
    open_store,
)

ROOMS = ("A", "B", "C")
HITS_ALLOWED = 10_000_000
SETTINGS = StoreSettings(
    operation_timeout=timedelta(seconds=30), rate_limit_max=HITS_ALLOWED, rate_limit_window=timedelta(hours=1)
)
_CALLERS = 6
_KINDS = {
    "create": 2,
    "join": 8,
    "leave": 7,
    "video": 5,
    "edit": 4,
    "delete": 0.2,
    "get": 6,
    "say": 8,
    "read": 5,
    "clear": 0.5,
    "hit": 3,
}
_IMPATIENT = 0.04
"""The share of calls that are cancelled at a random moment."""

Fault = Callable[[], Awaitable[object]]
Call = Callable[[Store, str, Any], Awaitable[Any]]


async def _create(store: Store, key: str, value: str) -> None:
    user = User(id=value, name=value, is_host=True)
    await store.rooms.create_room(Room(id=key, host_id=value, host_name=value, users=(user,)))


async def _hit(store: Store, key: str, _value: object) -> int:
    return HITS_ALLOWED - (await store.rate_limits.hit(key)).remaining


def _say(store: Store, key: str, value: str) -> Awaitable[None]:
    return store.chat.add_message(ChatMessage(id=value, room_id=key, user_id="u", user_name="u", message=value))


_CALLS: dict[str, Call] = {
    "create": _create,
    "join": lambda store, key, value: store.rooms.add_user_to_room(key, User(id=value, name=value)),
    "leave": lambda store, key, value: store.rooms.remove_user_from_room(key, value),
    "video": lambda store, key, value: store.rooms.update_video_state(key, VideoState(current_time=value)),
    "edit": lambda store, key, value: store.rooms.edit_room(
        key, lambda room: room.model_copy(update={"video_url": value})
    ),
    "delete": lambda store, key, _: store.rooms.delete_room(key),
    "get": lambda store, key, _: store.rooms.get_room(key),
    "say": _say,
    "read": lambda store, key, _: store.chat.get_messages(key),
    "clear": lambda store, key, _: store.chat.clear_messages(key),
    "hit": _hit,
}


class Worker:
    """Several callers on one store, which share the names of their users."""

    def __init__(self, store: Store, name: str, seed: int) -> None:
        self.history: list[Operation] = []
        self.errors: list[str] = []
        self._store = store
        self._name = name
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._numbers = iter(range(1, 10**9))
        self._joined: dict[str, list[str]] = {room: [] for room in ROOMS}
        self._left = 0.0
        self._breaking = asyncio.Lock()

    async def work(self, operations: float, fault: Fault | None = None, every: int = 1) -> None:
        """Run all callers.

        Args:
            operations: number of calls, without rejected calls.
            fault: a fault that a caller injects after every `every` calls.
            every: number of calls between two faults.
        """
        self._left = operations
        async with asyncio.TaskGroup() as callers:
            for number in range(_CALLERS):
                callers.create_task(self._caller(f"{self._name}.{number}", fault, every))

    def stop(self) -> None:
        """Stop each caller after its next call."""
        self._left = 0

    async def _caller(self, client: str, fault: Fault | None, every: int) -> None:
        while self._left > 0:
            self._left -= 1
            if fault is not None and self._left % every == 0:
                async with self._breaking:
                    await fault()
            key = self._chance.choice(ROOMS)
            (kind,) = self._chance.choices(list(_KINDS), list(_KINDS.values()))
            operation = await self._call(client, kind, key, self._value(kind, key))
            self.history.append(operation)
            if operation.answer == "refused":
                self._left += self._left > 0
                await asyncio.sleep(0.01)

    def _value(self, kind: str, key: str) -> str | float | None:
        number = next(self._numbers)
        if kind == "video":
            return number + (sum(self._name.encode()) % 997) / 1024  # unique among workers, and exact as a float
        if kind == "leave" and self._joined[key]:
            return self._chance.choice(self._joined[key])
        if kind in {"create", "join"}:
            self._joined[key] = [*self._joined[key][-5:], f"{self._name}-{number}"]
        return f"{self._name}-{number}" if kind in {"create", "join", "leave", "edit", "say"} else None

    async def _call(self, client: str, kind: str, key: str, value: str | float | None) -> Operation:
        patience = self._chance.random() * 0.01 if self._chance.random() < _IMPATIENT else None
        answer: Answer = "ok"
        result: Result = None
        start = time.monotonic_ns()
        try:
            async with asyncio.timeout(patience):
                result = _result(await _CALLS[kind](self._store, key, value))
        except (TimeoutError, OutcomeUnknownError):
            answer = "unknown"
        except RoomNotFoundError:
            answer = "not found"
        except RoomExistsError:
            answer = "exists"
        except (StoreUnavailableError, ConflictError):
            answer = "refused"
        except Exception as error:  # noqa: BLE001 - the run reports every error
            answer = "unknown"
            self.errors.append(f"{kind} of {key}: {error!r}")
        return Operation(client, kind, key, value, start, time.monotonic_ns(), answer, result)


def _result(value: Any) -> Result:
    if isinstance(value, Room):
        return View.of(value)
    return tuple(message.id for message in cast("list[ChatMessage]", value)) if isinstance(value, list) else value


async def main(url: str, name: str, seed: str, folder: str) -> None:
    """Run until the standard input is closed, and write the results."""
    async with open_store(url, settings=SETTINGS) as store:
        worker = Worker(store, name, int(seed))
        work = asyncio.ensure_future(worker.work(math.inf))
        await asyncio.to_thread(sys.stdin.read)
        worker.stop()
        await work
    (Path(folder) / name).write_bytes(pickle.dumps((worker.history, worker.errors)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
