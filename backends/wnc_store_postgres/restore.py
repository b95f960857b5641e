"""Restoring a room and its chat from a snapshot."""

from __future__ import annotations

import re
from datetime import timedelta

from wnc_store import RoomExistsError, Snapshot, StoreSettings, to_wire
from wnc_store.base import ChangeEvents
from wnc_store_postgres.keys import Keys, new_version, to_millis
from wnc_store_postgres.payloads import encode_payloads
from wnc_store_postgres.transport.executor import StatementExecutor


async def restore(
    executor: StatementExecutor, keys: Keys, settings: StoreSettings, snapshot: Snapshot, *, replace: bool
) -> None:
    """Implement `SupportsRestore.restore`."""
    room, chat_ttl = snapshot.room, snapshot.chat_ttl
    messages = () if chat_ttl is None else snapshot.messages[-settings.chat_history_limit :]
    result = await executor.write(
        "restore",
        room.id,
        new_version(),
        to_wire(room),
        to_millis(_finite(snapshot.room_ttl, settings.room_ttl)),
        replace,
        to_millis(_finite(chat_ttl or timedelta.max, settings.chat_ttl)),
        [_to_text(message.id) for message in messages],
        [to_wire(message) for message in messages],
        key=keys.room(room.id),
        channel=keys.channel,
        payloads=encode_payloads(room.id, ChangeEvents(settings).for_reset(room.id)),
    )
    if not result.applied:
        raise RoomExistsError(room.id)


def _finite(ttl: timedelta, full_ttl: timedelta) -> timedelta:
    return full_ttl if ttl == timedelta.max else ttl


def _to_text(message_id: str) -> str | None:
    """Return the id of a message; None if it has characters that the server's `text` cannot contain.

    Other programs can have stored such an id. It is not a valid argument of any operation.
    """
    return None if re.search(r"[\x00\ud800-\udfff]", message_id) else message_id
