"""The methods of the protocols, written once over a few storage primitives.

A backend subclasses these and writes the primitives (the methods that begin with an underscore). The atomic ones have
no default, because a default could only be racy.
"""

from wnc_store.base.chat import BaseChatStore
from wnc_store.base.events import BaseRoomEvents, ChangeEvents, EncodedEvent, EventQueue, SubscriberRegistry
from wnc_store.base.lifecycle import Lifecycle
from wnc_store.base.limiters import BaseConnectionCounter, BaseRateLimiter
from wnc_store.base.rooms import BaseRoomStore, VersionedRoom, VersionMismatch
from wnc_store.base.store import BaseStore

__all__ = [
    "BaseChatStore",
    "BaseConnectionCounter",
    "BaseRateLimiter",
    "BaseRoomEvents",
    "BaseRoomStore",
    "BaseStore",
    "ChangeEvents",
    "EncodedEvent",
    "EventQueue",
    "Lifecycle",
    "SubscriberRegistry",
    "VersionMismatch",
    "VersionedRoom",
]
