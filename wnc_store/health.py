"""Result of `Store.health`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from pydantic import JsonValue

Status = Literal["ok", "warning", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Result of one check.

    Attributes:
        name: Name of the check.
        status: "error" if rooms can be lost or writes fail, "warning" if the configuration is unusual but may be
            intended, "unknown" if the server did not provide the information, otherwise "ok".
        detail: The observed state.
        hint: What to do, if the status is not "ok".
    """

    name: str
    status: Status
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Health of a store.

    Attributes:
        backend: Class name of the store.
        version: Version of the server. None if there is no server or the version is unknown.
        round_trip_ms: Round-trip time of a ping in milliseconds. None if the ping failed.
        checks: Results of the checks.
    """

    backend: str
    version: str | None
    round_trip_ms: float | None
    checks: tuple[HealthCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether no check has the status "error"."""
        return all(check.status != "error" for check in self.checks)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON values with camelCase names."""
        return {
            "ok": self.ok,
            "backend": self.backend,
            "version": self.version,
            "roundTripMs": self.round_trip_ms,
            "checks": [asdict(check) for check in self.checks],
        }
