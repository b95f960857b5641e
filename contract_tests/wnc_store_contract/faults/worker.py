"""Callers on stores, with a record of each call and its outcome."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from wnc_store import (
    ChatMessage,
    ConflictError,
    OutcomeUnknownError,
    RateLimitDecision,
    Room,
    RoomExistsError,
    RoomNotFoundError,
    Store,
    StoreSettings,
    StoreUnavailableError,
    User,
    VideoState,
)
from wnc_store_contract.faults.history import Answer, Operation, Result, View

HITS_ALLOWED = 10_000_000
SETTINGS = StoreSettings(
    operation_timeout=timedelta(seconds=30), rate_limit_max=HITS_ALLOWED, rate_limit_window=timedelta(hours=1)
)
"""The settings of the stores. Only these fields are set."""

KINDS: Mapping[str, Mapping[str, float]] = {
    "rooms": {"create": 2, "join": 8, "leave": 7, "video": 5, "edit": 4, "delete": 0.2, "get": 6},
    "chats": {"say": 8, "correct": 3, "remove": 2, "read": 5, "clear": 0.5},
    "connections": {"acquire": 4, "release": 3, "count": 2},
    "limits": {"hit": 3, "peek": 1},
}
"""The kinds of operations on each type of key, and how often they are called."""

_CALLERS = 6
Fault = Callable[[], Awaitable[object]]
Call = Callable[[Store, str, Any], Awaitable[Any]]


async def _create(store: Store, key: str, value: str) -> None:
    user = User(id=value, name=value, is_host=True)
    await store.rooms.create_room(Room(id=key, host_id=value, host_name=value, users=(user,)))


def _say(store: Store, key: str, value: str) -> Awaitable[None]:
    return store.chat.add_message(ChatMessage(id=value, room_id=key, user_id="u", user_name="u", message=value))


async def _correct(store: Store, key: str, value: str) -> bool:
    message_id, _, text = value.partition("=")
    changed = await store.chat.edit_message(key, message_id, lambda found: found.model_copy(update={"message": text}))
    return changed is not None


CALLS: dict[str, Call] = {
    "create": _create,
    "join": lambda store, key, value: store.rooms.add_user_to_room(key, User(id=value, name=value)),
    "leave": lambda store, key, value: store.rooms.remove_user_from_room(key, value),
    "video": lambda store, key, value: store.rooms.update_video_state(key, VideoState(current_time=value)),
    "edit": lambda store, key, value: store.rooms.edit_room(key, lambda room: room.replace(video_url=value)),
    "delete": lambda store, key, _: store.rooms.delete_room(key),
    "get": lambda store, key, _: store.rooms.get_room(key),
    "say": _say,
    "correct": _correct,
    "remove": lambda store, key, value: store.chat.remove_message(key, value),
    "read": lambda store, key, _: store.chat.get_messages(key),
    "clear": lambda store, key, _: store.chat.clear_messages(key),
    "acquire": lambda store, key, value: store.connections.acquire(key, value),
    "release": lambda store, key, value: store.connections.release(key, value),
    "count": lambda store, key, _: store.connections.count(key),
    "hit": lambda store, key, _: store.rate_limits.hit(key),
    "peek": lambda store, key, _: store.rate_limits.peek(key),
}


class Worker:
    """Several callers on one or more stores, which share the names of their users.

    Args:
        stores: the stores, which have the same data.
        name: a name that is unique among the workers on the same data.
        seed: chooses the operations.
        keys: the keys of each type, as in `KINDS`, that are used.

    Attributes:
        history: all calls that have ended.
        errors: the errors that a store must not raise.
        impatient: the share of calls that are cancelled at a random moment.
    """

    kinds: Mapping[str, Mapping[str, float]] = KINDS
    calls: Mapping[str, Call] = CALLS
    impatient = 0.04

    def __init__(
        self, stores: Sequence[Store], name: str, seed: float | str, keys: Mapping[str, Sequence[str]]
    ) -> None:
        self.history: list[Operation] = []
        self.errors: list[str] = []
        self._stores = stores
        self._name = name
        self._chance = random.Random(seed)  # noqa: S311 - repeatable
        self._numbers = iter(range(1, 10**9))
        self._keys = {kind: keys[group] for group in keys for kind in self.kinds[group]}
        self._weights = [weight for group in keys for weight in self.kinds[group].values()]
        self._known: dict[str, list[str]] = defaultdict(list)
        self._said: dict[str, list[str]] = defaultdict(list)
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
                store = self._stores[number % len(self._stores)]
                callers.create_task(self._caller(store, f"{self._name}.{number}", fault, every))

    def stop(self) -> None:
        """Stop each caller after its next call."""
        self._left = 0

    async def _caller(self, store: Store, client: str, fault: Fault | None, every: int) -> None:
        while self._left > 0:
            self._left -= 1
            if fault is not None and self._left % every == 0:
                async with self._breaking:
                    await fault()
            (kind,) = self._chance.choices(list(self._keys), self._weights)
            key = self._chance.choice(self._keys[kind])
            patience = self._chance.random() * 0.01 if self._chance.random() < self.impatient else None
            operation = await self.call(store, client, kind, key, self._value(kind, key, client), patience)
            if operation.answer == "refused":
                self._left += self._left > 0
                await asyncio.sleep(0.01)

    def _value(self, kind: str, key: str, client: str) -> str | float | None:
        number = next(self._numbers)
        if kind == "video":
            return number + (sum(self._name.encode()) % 997) / 1024  # unique among workers, and exact as a float
        if kind in {"acquire", "release"}:
            return f"{client}-{number % 3}"  # only this caller uses the connection
        if kind == "leave" and self._known[key]:
            return self._chance.choice(self._known[key])
        if kind in {"correct", "remove"}:
            target = self._chance.choice(self._said[key] or [f"{self._name}-0"])
            return f"{target}={self._name}-{number}" if kind == "correct" else target
        if kind == "say":
            self._said[key] = [*self._said[key][-5:], f"{self._name}-{number}"]
        if kind in {"create", "join"}:
            self._known[key] = [*self._known[key][-5:], f"{self._name}-{number}"]
        return f"{self._name}-{number}" if kind in {"create", "join", "leave", "edit", "say"} else None

    async def call(  # noqa: PLR0913, PLR0917 - the parameters of an operation
        self,
        store: Store,
        client: str,
        kind: str,
        key: str,
        value: str | float | None = None,
        patience: float | None = None,
    ) -> Operation:
        """Call a store, and record the operation.

        Args:
            store: the store.
            client: the caller.
            kind: the kind of the operation.
            key: the key.
            value: the value of a write.
            patience: seconds after which the call is cancelled.
        """
        answer: Answer = "ok"
        result: Result = None
        final = math.inf
        start = time.monotonic_ns()
        limit = asyncio.timeout(patience)
        try:
            async with limit:
                result = _result(await self.calls[kind](store, key, value))
        except OutcomeUnknownError as error:
            answer = "unknown"
            final = _final(error)
        except TimeoutError as error:
            answer = "unknown"
            if not limit.expired():
                self.errors.append(f"{kind} of {key}: {error!r}")
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            answer = "unknown"
            self.errors.append(f"{kind} of {key}: {error!r}, although nobody has cancelled the call")
        except RoomNotFoundError:
            answer = "not found"
        except RoomExistsError:
            answer = "exists"
        except (StoreUnavailableError, ConflictError):
            answer = "refused"
        except Exception as error:  # noqa: BLE001 - the run reports every error
            answer = "unknown"
            self.errors.append(f"{kind} of {key}: {error!r}")
        operation = Operation(client, kind, key, value, start, time.monotonic_ns(), answer, result, final)
        self.history.append(operation)
        return operation


def _final(error: OutcomeUnknownError) -> float:
    if error.final_after is None:
        return math.inf
    return time.monotonic_ns() + error.final_after / timedelta(microseconds=1) * 1000


def _result(value: Any) -> Result:
    if isinstance(value, Room):
        return View.of(value)
    if isinstance(value, RateLimitDecision):
        return HITS_ALLOWED - value.remaining
    return tuple(map(_shown, cast("list[ChatMessage]", value))) if isinstance(value, list) else value


def _shown(message: ChatMessage) -> str:
    """Return the id of a message, with its text once it was corrected. At first, its text is its id."""
    return message.id if message.message == message.id else f"{message.id}={message.message}"
