"""Strings and bytes that their repr does not show, so that tools which record local variables do not record them.

Values of these types are equal to plain ones, and drivers accept them.
"""

from __future__ import annotations

import secrets
from typing import Any, SupportsIndex

_TOKEN_BYTES = 32
"""Random bytes in a host token."""


class Secret(str):
    """A string with a masked repr, for example a host token. `str()` returns the plain string."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a text that does not depend on the string."""
        return "'**********'"

    def __getitem__(self, key: Any) -> str:
        """Return a part of the string, which is masked, too: some tools shorten a string before they call `repr`."""
        return Secret(super().__getitem__(key))


class SecretBytes(bytes):
    """Bytes with a masked repr, for example an encoded room with its host token."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return a text that contains only the length."""
        return f"<{len(self)} bytes>"

    __str__ = __repr__

    def __getitem__(self, key: Any) -> Any:
        """Return a byte, or a part of the bytes, which is masked, too."""
        index: SupportsIndex | slice = key
        part = super().__getitem__(index)
        return SecretBytes(part) if isinstance(part, bytes) else part


def new_host_token() -> Secret:
    """Return a random host token of 43 URL-safe characters."""
    return Secret(secrets.token_urlsafe(_TOKEN_BYTES))


def masked(value: str | None) -> str | None:
    """Return a string as a `Secret`."""
    return value if value is None else Secret(value)
