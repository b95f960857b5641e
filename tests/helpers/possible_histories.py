"""Random histories of a correct store, some of whose calls have an unknown outcome."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

from wnc_store_contract.faults.history import READS, Operation
from wnc_store_contract.faults.models import Model, State
from wnc_store_contract.faults.worker import KINDS

_CALLERS = 6
_CALLS = 60
_LONGEST_CALL = 10.0


def possible_history(group: str, model: Model, seed: int) -> tuple[list[Operation], list[State]]:
    """Return the calls of several callers to one key, and the states of the key that were written.

    Each call takes effect at one moment. A call with an unknown outcome takes effect at any moment until it is final,
    or never. Some states of a room are not written, because a later update belongs to the same commit.

    Args:
        group: the type of the key, as in `KINDS`.
        model: the rules of the key.
        seed: chooses the calls and their times.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable
    calls: list[Operation] = []
    effects: list[tuple[float, int]] = []
    for call, effect in _calls(group, chance):
        if effect is not None:
            effects.append((effect, len(calls)))
        calls.append(call)
    state, written = model.initial, list[State]()
    for _, number in sorted(effects):
        before = state
        state, answer, result = model.apply(before, calls[number])
        if calls[number].answer != "unknown":
            calls[number] = replace(calls[number], answer=answer, result=result if answer == "ok" else None)
        if calls[number].kind in {"acquire", "release"} and answer == "ok":
            calls[number] = replace(calls[number], result=len(state) if isinstance(state, frozenset) else None)
        if state != before:
            is_later_update = group == "rooms" and None not in {before, state} and len(written) > 0
            if is_later_update and chance.random() < 0.3:
                written.pop()
                if not written or written[-1] is None:  # a room is created by a separate commit
                    written.append(before)
            written.append(state)
    return calls, written


def _calls(group: str, chance: random.Random) -> Iterator[tuple[Operation, float | None]]:
    """Yield calls without results, ordered by start, and when each takes effect, or None if it does not."""
    kinds = KINDS[group]
    longest_pause, final_after = chance.choice([5, 30, 100]), chance.choice([15, 60, math.inf])
    share_of_unknown = chance.choice([0.1, 0.2])
    free = [0.0] * _CALLERS
    users = ["nobody"]
    for number in range(_CALLS):
        caller = min(range(_CALLERS), key=free.__getitem__)
        start = free[caller]
        end = start + _LONGEST_CALL * (0.01 + chance.random())
        free[caller] = end + longest_pause * chance.random()
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        is_unknown = kind not in READS and chance.random() < share_of_unknown
        final = end + final_after if is_unknown else math.inf
        latest = min(final, end + 100) if is_unknown and chance.random() < 0.3 else end
        effect = start + (latest - start) * chance.random()
        value = _value(kind, caller, number, chance.choice(users[-5:]))
        if kind in {"create", "join"}:
            users.append(str(value))
        never = is_unknown and chance.random() < 0.4
        call = Operation(f"c{caller}", kind, "A", value, start, end, "unknown" if is_unknown else "ok", None, final)
        yield call, None if never else effect


def _value(kind: str, caller: int, number: int, user: str) -> str | float | None:
    if kind == "video":
        return float(number)
    if kind == "leave":
        return user
    if kind in {"acquire", "release"}:
        return f"c{caller}-{number % 3}"
    return f"{kind}-{number}" if kind in {"create", "join", "edit", "say"} else None
