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
from typing import TYPE_CHECKING

for _needed in ("pytest", "hypothesis"):
    if find_spec(_needed) is None:
        _message = f"the contract suite needs {_needed}: pip install 'wnc-store[contract]'"
        raise ImportError(_message, name=_needed)

import pytest  # noqa: E402 - after the check above

from wnc_store_contract.clause import Clause, clauses_of  # noqa: E402
from wnc_store_contract.harness import Capability, Harness, RawAccess, RawHits  # noqa: E402

if TYPE_CHECKING:
    from wnc_store_contract.contract import StoreContract

__all__ = ["Capability", "Clause", "Harness", "RawAccess", "RawHits", "StoreContract", "clauses_of"]

# So that a stranger sees the values in a failed assertion. It has to come before the clauses are imported, and while
# pytest runs: therefore they are imported only when StoreContract is first asked for.
pytest.register_assert_rewrite("wnc_store_contract.clauses", "wnc_store_contract.statemachine")


def __getattr__(name: str) -> object:
    if name == "StoreContract":
        from wnc_store_contract.contract import StoreContract  # noqa: PLC0415 - see above

        return StoreContract
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
