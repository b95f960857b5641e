"""Callers with more kinds of calls than `wnc-store verify` makes: repeated messages, restored rooms, app events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from chaos.ledger import Ledger
from wnc_store import AppEvent, ChatMessage, Snapshot, Store
from wnc_store_contract.factories import room
from wnc_store_contract.faults.history import Operation
from wnc_store_contract.faults.worker import CALLS, KINDS, Call, Worker

RESTORED = "restored"
"""The only user of each restored room."""


def _repeat(store: Store, key: str, value: str) -> Any:
    return store.chat.add_message(
        ChatMessage(id=value, room_id=key, user_id="u", user_name="u", message=value, timestamp=0)
    )


def _restore(store: Any, key: str, _: object) -> Any:
    return store.restore(Snapshot(room(key, RESTORED), timedelta(hours=1)), replace=True)


def _publish(store: Store, key: str, value: str) -> Any:
    return store.events.publish(key, AppEvent(room_id=key, name="published", value=value))


class Caller(Worker):
    """Callers that pause between some of their calls.

    - "repeat" adds one of two messages, so that a message is added again after it was cleared.
    - "restore" stores the same bytes each time, except for the nonce. Its rooms are not changed otherwise than by
      "join" and "delete".
    """

    kinds: Mapping[str, Mapping[str, float]] = {
        **KINDS,
        "chats": {"say": 5, "repeat": 5, "read": 3, "clear": 2},
        "restores": {"create": 1, "join": 8, "restore": 12, "delete": 0.3},
        "events": {"publish": 3},
    }
    calls: Mapping[str, Call] = {**CALLS, "repeat": _repeat, "restore": _restore, "publish": _publish}

    async def call(self, *arguments: Any, **options: Any) -> Operation:
        """Call a store, sometimes after a pause."""
        if self._chance.random() < 0.5:
            await asyncio.sleep(self._chance.random() * 0.01)
        return await super().call(*arguments, **options)

    def _value(self, kind: str, key: str, client: str) -> str | float | None:
        if kind == "repeat":
            return f"{kind}-{self._chance.randrange(2)}"
        if kind == "publish":
            return super()._value("say", key, client)
        return super()._value(kind, key, client)


GROUPS = {kind: group for group, kinds in Caller.kinds.items() if group != "restores" for kind in kinds}
"""Kind of operation -> the type of its key."""


def restore_problems(operations: Sequence[Operation], ledger: Ledger, key: str) -> Iterator[str]:
    """Yield the problems of a room that is restored: users that joined twice, and restorations that were repeated."""
    states = [{user["id"] for user in state["users"]} if state else set[str]() for state in ledger.rooms.get(key, [])]
    starts = Counter(user for before, after in pairwise([set[str](), *states]) for user in after - before)
    for one in operations:
        if one.kind in {"create", "join"}:
            times = starts[str(one.value)]
            if not (one.answer == "ok") <= times <= (one.answer in {"ok", "unknown"}):
                yield f"{one.kind} of {one.value} ended with {one.answer}, and was applied {times} times"
    answers = Counter(one.answer for one in operations if one.kind == "restore")
    restored = sum(users == {RESTORED} for users in states)
    if not answers["ok"] <= restored <= answers["ok"] + answers["unknown"]:
        yield f"restored {restored} times, for {answers['ok']} acknowledged and {answers['unknown']} unknown calls"
