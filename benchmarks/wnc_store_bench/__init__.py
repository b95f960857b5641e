"""The benchmark of wnc-store: `wnc-store bench`, or `make bench` in a clone.

`contenders` contains the compared programs, each with its own data. `run` measures them and returns a `Result` with
every round. `report` and `chart` show a result.
"""

from importlib.util import find_spec

for _needed in ("redis", "hiredis", "asyncpg", "matplotlib"):
    if find_spec(_needed) is None:
        _message = f"the benchmark needs {_needed}: pip install 'wnc-store[bench]'"
        raise ImportError(_message)

from wnc_store_bench.options import Options  # noqa: E402 - after the check above
from wnc_store_bench.results import Result  # noqa: E402
from wnc_store_bench.run import run  # noqa: E402

__all__ = ["Options", "Result", "run"]
