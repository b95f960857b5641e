"""Judges of recorded histories: the violated rules, each with the fewest results that cannot all be true."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from wnc_store_contract.faults.history import READS, Operation, View
from wnc_store_contract.faults.linearizable import Verdict, find_order
from wnc_store_contract.faults.models import ChatModel, HitModel, LeaseModel, Model, RoomModel
from wnc_store_contract.faults.worker import KINDS, SETTINGS

_STEPS_OF_PROOF = 500
"""Steps of a search while a violation is shortened. A search that needs more keeps the result in question."""

_STEPS_OF_RULE = 5000
"""Steps of the search that decides whether rejected calls are part of a violation."""

_MODELS: dict[str, Callable[[Sequence[Operation]], Model]] = {
    "rooms": RoomModel,
    "chats": lambda operations: ChatModel(operations, SETTINGS.chat_history_limit),
    "connections": lambda _: LeaseModel(),
    "limits": lambda _: HitModel(),
}
_COUNTED = {"connections", "limits"}
RULES = {
    "rooms": "the calls to a room are linearizable, and no acknowledged write is lost",
    "chats": (
        "each acknowledged message is added, corrected and removed exactly once, and reads return the current messages"
    ),
    "connections": "each lease is counted from its acquisition to its release",
    "limits": "each acknowledged hit is counted exactly once",
}
TRUTHFUL_ERRORS = "a write that raises an error other than OutcomeUnknownError has not happened"


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation on one key.

    Attributes:
        rule: the violated rule. Two rules if the results do not determine which of them is violated.
        key: the key.
        claims: the operations whose results cannot all be true, for any outcome of the other calls.
        context: the writes that these results mention.
    """

    rule: str
    key: str
    claims: Sequence[Operation]
    context: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of checking a history.

    Attributes:
        findings: the violations.
        undecided: the number of keys whose search exceeded its budget.
    """

    findings: Sequence[Finding]
    undecided: int


def judge(operations: Sequence[Operation]) -> Judgement:
    """Check the complete history of keys that did not exist at first."""
    keys: dict[tuple[str, str], list[Operation]] = defaultdict(list)
    for one in operations:
        group = next(group for group, kinds in KINDS.items() if one.kind in kinds)
        keys[group, one.key].append(one)
    findings: list[Finding] = []
    undecided = 0
    for (group, key), recorded in keys.items():
        parts = {id(half): (half, one) for one in recorded for half in halves(one)}
        mine = [half for half, _ in parts.values()]
        verdict = _check(group, mine)
        if verdict.is_exceeded:
            undecided += 1
        elif verdict.problem:
            claims = _shorten(group, mine)
            whole = {id(one): one for one in (parts[id(claim)][1] for claim in claims)}
            has_rejected = any(one.answer == "refused" for one in claims)
            rule = f"{RULES[group]}, or {TRUTHFUL_ERRORS}" if has_rejected else RULES[group]
            findings.append(Finding(rule, key, list(whole.values()), _mentioned(group, claims, whole, recorded)))
    return Judgement(findings, undecided)


def halves(operation: Operation) -> Sequence[Operation]:
    """Split a change of a lease into the change and a count during the call.

    A store may repeat such a change until it receives a reply. Then the first request makes the change, and the last
    one returns the count.
    """
    if operation.kind not in {"acquire", "release"} or operation.answer != "ok":
        return [operation]
    sign = "+" if operation.kind == "acquire" else "-"
    return [replace(operation, result=None), replace(operation, kind="count", value=f"{sign}{operation.value}")]


def _check(group: str, operations: Sequence[Operation], budget: int | None = None) -> Verdict:
    return find_order(operations, _MODELS[group](operations), budget)


def _shorten(group: str, operations: Sequence[Operation]) -> list[Operation]:
    """Return few operations whose results cannot all be true, even if the outcomes of the others count as unknown."""
    by_end = sorted((one for one in operations if one.answer != "unknown"), key=lambda one: one.end)

    def contradict(claims: Sequence[Operation], budget: int = _STEPS_OF_PROOF) -> bool:
        latest = max((one.end for one in claims), default=-math.inf)
        chosen = set(map(id, claims))
        doubted = [
            one if id(one) in chosen else replace(one, answer="unknown", result=None)
            for one in operations
            if id(one) in chosen or (one.kind not in READS and one.start <= latest)
        ]
        verdict = _check(group, doubted, budget)
        return verdict.problem is not None and not verdict.is_exceeded

    accepted = [one for one in by_end if one.answer != "refused"]
    claims = _shortest_prefix(accepted if contradict(accepted, _STEPS_OF_RULE) else by_end, contradict)
    size = max(len(claims) // 2, 1)
    while True:
        for first in range(len(claims) - 1, -1, -size):
            fewer = [*claims[: max(first - size + 1, 0)], *claims[first + 1 :]]
            if contradict(fewer):
                claims = fewer
        if size == 1:
            break
        size //= 2
    return claims


def _shortest_prefix(claims: list[Operation], contradict: Callable[[list[Operation]], bool]) -> list[Operation]:
    low, high = 0, len(claims)
    while low < high:
        middle = (low + high) // 2
        if contradict(claims[:middle]):
            high = middle
        else:
            low = middle + 1
    return claims[:low]


def _mentioned(
    group: str, claims: Sequence[Operation], whole: Mapping[int, Operation], recorded: Sequence[Operation]
) -> list[Operation]:
    """Return the other writes whose values are in the results of the claims. A count mentions all earlier writes."""
    values: set[object] = set()
    for one in claims:
        values.add(one.value)
        if isinstance(one.result, View):
            values.update((*one.result.users, one.result.position, one.result.url))
        elif isinstance(one.result, tuple):
            values.update(one.result, (str(entry).partition("=")[0] for entry in one.result))
    latest = max((one.end for one in claims), default=-math.inf)
    return [
        one
        for one in recorded
        if one.kind not in READS
        and id(one) not in whole
        and one.start <= latest
        and (group in _COUNTED or one.value in values - {None})
    ]
