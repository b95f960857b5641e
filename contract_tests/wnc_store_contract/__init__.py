"""The contract suite: what every backend of wnc-store must do, as tests that a stranger can run on a backend.

    from wnc_store_contract import Harness, StoreContract

    class MyHarness(Harness):
        ...

    class TestMine(StoreContract):
        def make_harness(self):
            return MyHarness()

Run it with pytest, under any plugin or none: each clause runs in an event loop of its own.
"""

from importlib.util import find_spec

for _needed in ("pytest", "hypothesis"):
    if find_spec(_needed) is None:
        _message = f"the contract suite needs {_needed}: pip install 'wnc-store[contract]'"
        raise ImportError(_message, name=_needed)

import pytest  # noqa: E402 - after the check above

# Before the clauses are imported, so that a stranger sees the values in a failed assertion.
pytest.register_assert_rewrite("wnc_store_contract.clauses", "wnc_store_contract.statemachine")

from wnc_store_contract.clause import Clause, clauses_of  # noqa: E402 - see above
from wnc_store_contract.contract import StoreContract  # noqa: E402
from wnc_store_contract.harness import Capability, Harness, RawAccess, RawHits  # noqa: E402

__all__ = ["Capability", "Clause", "Harness", "RawAccess", "RawHits", "StoreContract", "clauses_of"]
