"""What `Store.health` finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Status = Literal["ok", "warning", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: "error" loses rooms or refuses writes, "warning" may be meant so, "unknown" is what the server does not
            tell.
        found: what was found.
        remedy: what to do, where it is not good.
    """

    name: str
    status: Status
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
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
    checks: tuple[HealthCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.status != "error" for check in self.checks)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it as JSON values."""
        return {
            "ok": self.ok,
            "backend": self.backend,
            "version": self.version,
            "roundTripMs": self.round_trip_ms,
            "checks": [
                {"name": one.name, "status": one.status, "detail": one.detail, "hint": one.hint} for one in self.checks
            ],
        }
