"""What `verify` runs: the contract on the harness that it was given."""

from __future__ import annotations

from collections.abc import Callable

from wnc_store_contract.contract import StoreContract
from wnc_store_contract.harness import Harness


class TestVerified(StoreContract):
    """The contract on a harness that is chosen at run time."""

    factory: Callable[[], Harness]

    def make_harness(self) -> Harness:
        """Return what the factory makes."""
        return type(self).factory()
