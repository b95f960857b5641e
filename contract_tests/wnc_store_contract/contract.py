"""The contract: all clauses in one class."""

from __future__ import annotations

from abc import abstractmethod

from wnc_store_contract.clause import refuse_overrides
from wnc_store_contract.clauses.chat import ChatClauses
from wnc_store_contract.clauses.concurrency import ConcurrencyClauses
from wnc_store_contract.clauses.guards import ConnectionClauses, RateLimitClauses
from wnc_store_contract.clauses.lifetime import LifetimeClauses
from wnc_store_contract.clauses.listing import ListingClauses
from wnc_store_contract.clauses.records import RecordClauses
from wnc_store_contract.clauses.rooms import RoomClauses
from wnc_store_contract.clauses.store import StoreClauses
from wnc_store_contract.clauses.users import UserClauses
from wnc_store_contract.clauses.wire import WireClauses
from wnc_store_contract.harness import Harness
from wnc_store_contract.statemachine import StateMachineClauses


class StoreContract(
    StateMachineClauses,
    WireClauses,
    ConcurrencyClauses,
    RecordClauses,
    LifetimeClauses,
    ListingClauses,
    RateLimitClauses,
    ConnectionClauses,
    ChatClauses,
    UserClauses,
    RoomClauses,
    StoreClauses,
):
    """The contract of a backend. Subclass it under a name that pytest collects, and write `make_harness`.

    A clause can't be overridden or removed: that fails when the class is made. One that can't hold yet is marked
    `@pytest.mark.xfail(reason="...")` and calls the clause it overrides.
    """

    def __init_subclass__(cls) -> None:
        """Refuse a subclass that overrides, removes or skips clauses."""
        super().__init_subclass__()
        refuse_overrides(cls, StoreContract)

    @abstractmethod
    def make_harness(self) -> Harness:
        """Return a new harness; each clause asks for one."""
