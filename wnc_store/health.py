"""What `Store.health` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Status = Literal["good", "notice", "wrong", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: "wrong" loses rooms or refuses writes, "notice" may be meant so, "unknown" is what the server does not
            tell.
        found: what was found.
        remedy: what to do, where it is not good.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    """How a store is.

    Attributes:
        backend: its class.
        version: of the server, where there is one that tells.
        round_trip_ms: of one ping, in milliseconds; None if there was no answer.
        checks: what was looked at.
    """

    backend: str
    version: str | None
    round_trip_ms: float | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.status != "wrong" for check in self.checks)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON values."""
        return {
            "ok": self.ok,
            "backend": self.backend,
            "version": self.version,
            "roundTripMs": self.round_trip_ms,
            "checks": [
                {"name": one.name, "status": one.status, "found": one.found, "remedy": one.remedy}
                for one in self.checks
            ],
        }
