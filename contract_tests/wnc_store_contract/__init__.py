"""The contract suite: tests that every backend of wnc-store must pass.

    from wnc_store_contract import Harness, StoreContract

    class MyHarness(Harness):
        ...

    class TestMine(StoreContract):
        def make_harness(self):
            return MyHarness()

Run it with pytest. It needs no async plugin and works with any: each clause creates its own event loop.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

for _needed in ("pytest", "hypothesis"):
    if find_spec(_needed) is None:
        _message = f"The contract suite requires {_needed}: pip install 'wnc-store[contract]'"
        raise ImportError(_message, name=_needed)

import pytest  # noqa: E402 - after the check above

from wnc_store_contract.clause import Clause, clauses_of  # noqa: E402
from wnc_store_contract.harness import Capability, Harness, RawAccess, RawHits  # noqa: E402

if TYPE_CHECKING:
    from wnc_store_contract.contract import StoreContract

__all__ = ["Capability", "Clause", "Harness", "RawAccess", "RawHits", "StoreContract", "clauses_of"]

# pytest rewrites assertions to show the compared values. It can only do so if this call comes before the clauses are
# imported, and if they are imported while pytest runs. So they are imported when StoreContract is first accessed.
pytest.register_assert_rewrite("wnc_store_contract.clauses", "wnc_store_contract.statemachine")


def __getattr__(name: str) -> object:
    if name == "StoreContract":
        from wnc_store_contract.contract import StoreContract  # noqa: PLC0415 - see above

        return StoreContract
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
