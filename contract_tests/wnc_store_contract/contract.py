"""The class that contains all clauses."""

from __future__ import annotations

from abc import abstractmethod

from wnc_store_contract.clauses.cancellation import CancellationClauses
from wnc_store_contract.clauses.cancelled_events import CancelledEventClauses
from wnc_store_contract.clauses.changes import ChangeClauses
from wnc_store_contract.clauses.chat import ChatClauses
from wnc_store_contract.clauses.clients import ClientClauses
from wnc_store_contract.clauses.concurrency import ConcurrencyClauses
from wnc_store_contract.clauses.empty_rooms import EmptyRoomClauses
from wnc_store_contract.clauses.errors import ErrorClauses
from wnc_store_contract.clauses.events import EventClauses
from wnc_store_contract.clauses.harness import HarnessClauses
from wnc_store_contract.clauses.host_token import HostTokenClauses
from wnc_store_contract.clauses.identity import IdentityClauses
from wnc_store_contract.clauses.ids import IdClauses
from wnc_store_contract.clauses.isolation import IsolationClauses
from wnc_store_contract.clauses.lease_ttls import LeaseTtlClauses
from wnc_store_contract.clauses.lifetime import LifetimeClauses
from wnc_store_contract.clauses.limiters import ConnectionClauses, RateLimitClauses
from wnc_store_contract.clauses.listing import ListingClauses
from wnc_store_contract.clauses.many_rooms import ManyRoomsClauses
from wnc_store_contract.clauses.message_edit_wire import MessageEditWireClauses
from wnc_store_contract.clauses.message_edits import MessageEditClauses
from wnc_store_contract.clauses.races import RaceClauses
from wnc_store_contract.clauses.records import RecordClauses
from wnc_store_contract.clauses.room_codes import RoomCodeClauses
from wnc_store_contract.clauses.rooms import RoomClauses
from wnc_store_contract.clauses.size_limits import SizeLimitClauses
from wnc_store_contract.clauses.sizes import SizeClauses
from wnc_store_contract.clauses.store import StoreClauses
from wnc_store_contract.clauses.ttls import TtlClauses
from wnc_store_contract.clauses.users import UserClauses
from wnc_store_contract.clauses.values import ValueClauses
from wnc_store_contract.clauses.wire import WireClauses
from wnc_store_contract.guard import ContractMeta
from wnc_store_contract.harness import Harness
from wnc_store_contract.statemachine import StateMachineClauses


class StoreContract(
    StateMachineClauses,
    RaceClauses,
    SizeClauses,
    ValueClauses,
    TtlClauses,
    IsolationClauses,
    IdentityClauses,
    WireClauses,
    CancelledEventClauses,
    CancellationClauses,
    ConcurrencyClauses,
    ClientClauses,
    RecordClauses,
    IdClauses,
    LifetimeClauses,
    ErrorClauses,
    SizeLimitClauses,
    EmptyRoomClauses,
    RoomCodeClauses,
    ManyRoomsClauses,
    ListingClauses,
    ChangeClauses,
    EventClauses,
    RateLimitClauses,
    LeaseTtlClauses,
    ConnectionClauses,
    ChatClauses,
    HostTokenClauses,
    MessageEditClauses,
    MessageEditWireClauses,
    UserClauses,
    RoomClauses,
    StoreClauses,
    HarnessClauses,
    metaclass=ContractMeta,
):
    """The contract of a backend. Subclass it under a name that pytest collects, and implement `make_harness`.

    Overriding, marking or removing a clause raises TypeError. The only exception: a clause that a backend does not
    satisfy yet may be overridden by a method that is marked `@pytest.mark.xfail(reason="...", strict=True)` and calls
    the overridden clause. A run fails if a marker, fixture, hook, configuration file or plugin skips, deselects or
    otherwise reports a clause. Only the command line selects clauses.
    """

    @abstractmethod
    def make_harness(self) -> Harness:
        """Return a new harness. Called once for each clause."""
