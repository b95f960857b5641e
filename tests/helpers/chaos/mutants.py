"""Mutants of the Redis backend that violate a promise only after a lost reply."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from wnc_store_contract.faults.judge import RULES
from wnc_store_redis import chat, limiters
from wnc_store_redis.scripts import APPEND, HIT

_RECOGNIZED = b"if is_present or #similar > 1"
assert _RECOGNIZED in APPEND.source


@dataclass(frozen=True)
class RedisMutant:
    """A script that replaces another one.

    Attributes:
        owner: the module that uses the script.
        name: the name of the script in the module.
        wrong: the wrong script.
        sign: a part of the problem that the checker with a ledger reports.
        rule: the rule that the calls under faults violate.
    """

    owner: Any
    name: str
    wrong: Any
    sign: str
    rule: str

    def applied(self) -> AbstractContextManager[object]:
        """Return a context in which the script is replaced."""
        return patch.object(self.owner, self.name, self.wrong)


MUTANTS = {
    "a hit is retried": RedisMutant(
        limiters, "HIT", replace(HIT, idempotent=True), sign="counted", rule=RULES["limits"]
    ),
    "a retry does not recognize its message": RedisMutant(
        chat,
        "APPEND",
        replace(APPEND, source=APPEND.source.replace(_RECOGNIZED, b"if false")),
        sign="added 2 times",
        rule=RULES["chats"],
    ),
}
