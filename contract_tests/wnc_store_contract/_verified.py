"""The test module that the process of `verify` runs."""

from __future__ import annotations

from wnc_store_contract._process import chosen_harness
from wnc_store_contract.contract import StoreContract
from wnc_store_contract.harness import Harness


class TestVerified(StoreContract):
    """The contract on the harness that `verify` has chosen."""

    def make_harness(self) -> Harness:
        """Return a new harness."""
        return chosen_harness.get()()
