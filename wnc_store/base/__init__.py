"""Base classes for backends.

The base classes implement the methods of the protocols with a few storage primitives: abstract methods whose names
start with an underscore. A backend subclasses the base classes and implements the primitives. Atomic primitives have no
default implementation, because a default would have a race condition. The primitive that changes data also publishes
the events of the change (see `ChangeEvents`), because publishing them afterwards would be a race condition, too.
"""

from wnc_store.base.chat import BaseChatStore, MessageEdit
from wnc_store.base.compare_and_set import Committed, CompareAndSetRoomStore, VersionedRoom, VersionMismatch
from wnc_store.base.compare_and_set_chat import CompareAndSetChatStore, VersionedMessage
from wnc_store.base.decode import ChatDecoder, decode_room
from wnc_store.base.events import BaseRoomEvents, ChangeEvents, EncodedEvent, EventQueue, SubscriberRegistry
from wnc_store.base.group_commit import GroupCommitRoomStore
from wnc_store.base.key_value import KeyValueDatabase, KeyValueEntry, KeyValueStore, KeyValueTransaction
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.limiters import BaseConnectionCounter, BaseRateLimiter
from wnc_store.base.pages import sum_batches
from wnc_store.base.pending_update import PendingUpdate
from wnc_store.base.polling_events import EventLogPage, LoggedEvent, PollingRoomEvents
from wnc_store.base.rooms import BaseRoomStore, Transition
from wnc_store.base.store import BaseStore
from wnc_store.base.ttls import RoomTtls
from wnc_store.base.worker_thread import WorkerThread

__all__ = [
    "BaseChatStore",
    "BaseConnectionCounter",
    "BaseRateLimiter",
    "BaseRoomEvents",
    "BaseRoomStore",
    "BaseStore",
    "ChangeEvents",
    "ChatDecoder",
    "Committed",
    "CompareAndSetChatStore",
    "CompareAndSetRoomStore",
    "EncodedEvent",
    "EventLogPage",
    "EventQueue",
    "GroupCommitRoomStore",
    "KeyValueDatabase",
    "KeyValueEntry",
    "KeyValueStore",
    "KeyValueTransaction",
    "Lifecycle",
    "LoggedEvent",
    "MessageEdit",
    "PendingUpdate",
    "PollingRoomEvents",
    "RoomTtls",
    "SubscriberRegistry",
    "Transition",
    "VersionMismatch",
    "VersionedMessage",
    "VersionedRoom",
    "WorkerThread",
    "decode_room",
    "sum_batches",
]
