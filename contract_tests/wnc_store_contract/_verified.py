"""The test module that `verify` runs."""

from __future__ import annotations

from wnc_store_contract.contract import StoreContract
from wnc_store_contract.harness import Harness, chosen_harness


class TestVerified(StoreContract):
    """The contract on the harness that `verify` has chosen."""

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return chosen_harness.get()()
