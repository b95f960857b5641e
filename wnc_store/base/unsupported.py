"""Components of backends that do not support them. Each method raises `NotSupportedError`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from types import CoroutineType
from typing import Any, NoReturn

from wnc_store.errors import NotSupportedError
from wnc_store.events import RoomEvent


def _unsupported(feature: str) -> Callable[..., CoroutineType[Any, Any, Any]]:
    async def call(*_arguments: object, **_options: object) -> NoReturn:
        message = f"this backend does not support {feature}"
        raise NotSupportedError(message)

    return call


class UnsupportedChat:
    """`ChatStore` of a backend without chat."""

    add_message = edit_message = remove_message = clear_messages = get_messages = chat_ttl = _unsupported("chat")


class UnsupportedConnections:
    """`ConnectionCounter` of a backend that does not count connections."""

    acquire = release = count = _unsupported("connection counts")


class UnsupportedRateLimits:
    """`RateLimiter` of a backend without rate limits."""

    hit = peek = reset = _unsupported("rate limits")


class UnsupportedEvents:
    """`RoomEvents` of a backend without events."""

    publish = _unsupported("events")

    def subscribe(self, room_id: str) -> AbstractAsyncContextManager[AsyncIterator[RoomEvent]]:
        """Raise `NotSupportedError`."""
        del room_id
        message = "this backend does not support events"
        raise NotSupportedError(message)
