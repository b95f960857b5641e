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
class ServerInfo:
    """Product and version of a server.

    Attributes:
        name: Name of the product, for example "Valkey".
        version: Version of the product, not of a product that it is compatible with.
    """

    name: str
    version: str

    def __str__(self) -> str:
        """Return name and version."""
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """Health of a store.

    Attributes:
        backend: Class name of the store.
        server: Product and version of the server. None for a backend without a server, or if they are unknown.
        round_trip_ms: Round-trip time of a ping in milliseconds. None if the ping failed.
        checks: Results of the checks.
    """

    backend: str
    server: ServerInfo | None
    round_trip_ms: float | None
    checks: tuple[HealthCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether the ping succeeded and every check is "ok" or "warning". A check that is "unknown" is not ok."""
        return self.round_trip_ms is not None and all(check.status in {"ok", "warning"} for check in self.checks)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the report as JSON values with camelCase names."""
        return {
            "ok": self.ok,
            "backend": self.backend,
            "server": None if self.server is None else self.server.name,
            "version": None if self.server is None else self.server.version,
            "roundTripMs": self.round_trip_ms,
            "checks": [asdict(check) for check in self.checks],
        }
