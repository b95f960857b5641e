"""Storage layer of a watch-party app: rooms, users, video state and chat, with exchangeable backends.

Start with `open_store`. The guarantees of every backend are documented in `wnc_store.protocols`. Base classes for
backends are in `wnc_store.base`.
"""

from importlib.metadata import PackageNotFoundError, version

from wnc_store import rules
from wnc_store.base.ids import is_id
from wnc_store.clock import Clock, ManualClock, SystemClock
from wnc_store.errors import (
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    InvalidIdError,
    LimitExceededError,
    NotSupportedError,
    OutcomeUnknownError,
    RoomExistsError,
    RoomNotFoundError,
    StoreClosedError,
    StoreError,
    StoreTimeoutError,
    StoreUnavailableError,
    UserNotFoundError,
)
from wnc_store.events import (
    AppEvent,
    HostChanged,
    MessageAdded,
    MessageChanged,
    MessageRemoved,
    MessagesCleared,
    Resync,
    RoomChanged,
    RoomClosed,
    RoomEvent,
    RoomEvents,
    UserJoined,
    UserLeft,
    VideoSet,
    VideoStateChanged,
)
from wnc_store.factory import configured_url, open_store
from wnc_store.health import HealthCheck, HealthReport, ServerInfo
from wnc_store.protocols import (
    Backend,
    ChatReader,
    ChatStore,
    ConnectionCounter,
    RateLimiter,
    RoomReader,
    RoomStore,
    Store,
)
from wnc_store.rate_limit import RateLimitDecision, client_key
from wnc_store.records.codec import from_wire, to_json_text, to_wire
from wnc_store.records.models import ChatMessage, PublicRoom, Room, User, VideoState
from wnc_store.records.record import Record
from wnc_store.records.secret import SecretBytes
from wnc_store.settings import StoreSettings
from wnc_store.shared import get_store, store_lifespan
from wnc_store.snapshots import Snapshot, SupportsRestore
from wnc_store.statistics import (
    ServerActivity,
    ServerOperation,
    SlowLogEntry,
    SupportsServerActivity,
    SupportsStatistics,
)

__all__ = [
    "AppEvent",
    "Backend",
    "ChatMessage",
    "ChatReader",
    "ChatStore",
    "Clock",
    "ConfigurationError",
    "ConflictError",
    "ConnectionCounter",
    "CorruptRecordError",
    "HealthCheck",
    "HealthReport",
    "HostChanged",
    "InvalidIdError",
    "LimitExceededError",
    "ManualClock",
    "MessageAdded",
    "MessageChanged",
    "MessageRemoved",
    "MessagesCleared",
    "NotSupportedError",
    "OutcomeUnknownError",
    "PublicRoom",
    "RateLimitDecision",
    "RateLimiter",
    "Record",
    "Resync",
    "Room",
    "RoomChanged",
    "RoomClosed",
    "RoomEvent",
    "RoomEvents",
    "RoomExistsError",
    "RoomNotFoundError",
    "RoomReader",
    "RoomStore",
    "SecretBytes",
    "ServerActivity",
    "ServerInfo",
    "ServerOperation",
    "SlowLogEntry",
    "Snapshot",
    "Store",
    "StoreClosedError",
    "StoreError",
    "StoreSettings",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "SupportsRestore",
    "SupportsServerActivity",
    "SupportsStatistics",
    "SystemClock",
    "User",
    "UserJoined",
    "UserLeft",
    "UserNotFoundError",
    "VideoSet",
    "VideoState",
    "VideoStateChanged",
    "client_key",
    "configured_url",
    "from_wire",
    "get_store",
    "is_id",
    "open_store",
    "rules",
    "store_lifespan",
    "to_json_text",
    "to_wire",
]

try:
    __version__ = version("wnc-store")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "unknown"
