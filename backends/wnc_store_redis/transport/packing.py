"""Encoding of commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import hiredis

# The type stub of hiredis accepts tuples of one element only.
pack_command = cast("Callable[[Sequence[bytes]], bytes]", hiredis.pack_command)  # pyright: ignore[reportUnknownMemberType]

EXPIRY = b"0" * 13
"""The last argument of a command that writes: the time in epoch milliseconds after which the server must not run it.

The command is encoded with this placeholder, and without the last `EXPIRY_SIZE` bytes. `EXPIRY_FORMAT` is added when
the command is sent.
"""

EXPIRY_SIZE = len(EXPIRY) + 2
EXPIRY_FORMAT = b"%013d\r\n"
