"""What `verify` runs: the contract on the harness that it was given."""

from __future__ import annotations

from wnc_store_contract.contract import StoreContract
from wnc_store_contract.harness import Harness, chosen_harness


class TestVerified(StoreContract):
    """The contract on a harness that is chosen at run time."""

    def make_harness(self) -> Harness:
        """Return a new one of the chosen harness."""
        return chosen_harness.get()()
