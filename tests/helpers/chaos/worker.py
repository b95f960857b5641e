"""A process that works on a store as many callers would, and writes down what it asked and what it was told.

Run as `python -m chaos.worker URL NAME SEED SECONDS FOLDER`; it leaves `NAME.history` and `NAME.errors` in the folder.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from chaos.history import Answer, Operation, Result, View, write_history
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
    operation_timeout=timedelta(seconds=1), rate_limit_max=HITS_ALLOWED, rate_limit_window=timedelta(hours=1)
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
    "clear": 0.1,
    "hit": 3,
}
_IMPATIENT = 0.04
"""The share of callers who give up at a random moment."""

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
    """Several callers of one store, who know of one another's users."""

    def __init__(self, store: Store, name: str, seed: int) -> None:
        self.history: list[Operation] = []
        self.errors: list[str] = []
        self._store = store
        self._name = name
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._numbers = iter(range(1, 10**9))
        self._joined: dict[str, list[str]] = {room: [] for room in ROOMS}

    async def work(self, seconds: float) -> None:
        """Let all callers work for so long."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as callers:
            for number in range(_CALLERS):
                callers.create_task(self._caller(f"{self._name}.{number}", end))

    async def _caller(self, client: str, end: float) -> None:
        while time.monotonic() < end:
            key = self._chance.choice(ROOMS)
            (kind,) = self._chance.choices(list(_KINDS), list(_KINDS.values()))
            operation = await self._call(client, kind, key, self._value(kind, key))
            self.history.append(operation)
            if operation.answer in {"refused", "unknown"}:
                await asyncio.sleep(0.002)

    def _value(self, kind: str, key: str) -> str | float | None:
        number = next(self._numbers)
        if kind == "video":
            return number + (sum(self._name.encode()) % 997) / 1024  # unique among workers, and exact
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
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is to report it
            answer = "unknown"
            self.errors.append(f"{kind} of {key}: {error!r}")
        return Operation(client, kind, key, value, start, time.monotonic_ns(), answer, result)


def _result(value: Any) -> Result:
    if isinstance(value, Room):
        return View.of(value)
    return tuple(message.id for message in cast("list[ChatMessage]", value)) if isinstance(value, list) else value


async def main(url: str, name: str, seed: str, seconds: str, folder: str) -> None:
    """Work, and write down how it went."""
    async with open_store(url, settings=SETTINGS) as store:
        worker = Worker(store, name, int(seed))
        await worker.work(float(seconds))
    write_history(Path(folder) / f"{name}.history", worker.history)
    (Path(folder) / f"{name}.errors").write_text("".join(f"{error}\n" for error in worker.errors))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
