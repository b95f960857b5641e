"""Mutation testing with mutmut.

    python scripts/mutation.py [TARGET ...]    # the beginnings of keys of TARGETS; by default all

mutmut requires one folder with all import packages, so each target gets a copy of the project in `build/mutation`.
The script prints each surviving mutant and fails if fewer are killed than the target demands.

The targets that begin with "contract" measure the contract suite: only its clauses judge. The rules, the base classes
and the memory backend run on memory, the author kit on a key-value database in memory, which commits updates together
and, for `contract/single`, one at a time, and the SQLite example on files.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutation"
MUTMUT = Path(sys.executable).with_name("mutmut")
PROCESSES = 2


_FAKE = "contract_tests/test_fakeredis.py::TestFakeRedis::test_"
_INTERLEAVINGS = "tests/stress/test_interleavings.py::test_"

_REDIS = (
    "room_storage",
    "group_commit",
    "cache",
    "chat",
    "script_results",
    "transport/executor",
    "transport/retry",
    "transport/multiplexer",
    "transport/supervisor",
    "transport/connection",
)

_BASE = (
    "chat",
    "circuit_breaker",
    "codes",
    "diff",
    "events",
    "ids",
    "lifecycle",
    "limiters",
    "rooms",
    "store",
)
"""The modules of `wnc_store.base` that the memory backend uses, except `size_limits`."""

_KIT = (
    "compare_and_set_chat",
    "decode",
    "group_commit",
    "pages",
    "pending_update",
    "polling_events",
    "size_limits",
)
"""The modules of `wnc_store.base` that only the other backends use, and `size_limits`.

Its rules for stored values above a limit need a harness with `Capability.RAW`.
"""

_SLOW = (
    f"{_FAKE}any_sequence_of_operations",
    f"{_FAKE}many_rooms_are_listed",
    f"{_INTERLEAVINGS}pairs",
    f"{_INTERLEAVINGS}triples",
    f"{_INTERLEAVINGS}all_pairs",
    f"{_INTERLEAVINGS}equal_updates",
    f"{_INTERLEAVINGS}a_mutant_is_detected",
    "tests/redis/test_multiplexer.py::test_an_oversized_command_fails_alone",
)
"""Slow tests that kill no mutant that the faster tests miss."""


_INVISIBLE = (
    r"^\s*(message|problem|detail|hint) = ",  # texts of errors and reports; the contract fixes their types only
    r"(raise|return) (ValueError|TypeError|Store\w*Error|ConfigurationError|InvalidIdError)\(",  # also texts
    r"_check_(name|length)\(|for name, value in ",  # the names of limits and arguments in errors
    r"_logger\.|_skipped\.warn\(|\bSkippedValueLog\b",  # logging
    r"HealthCheck\(\"(limits|set-up)\"|str\(error\)",  # the health of a server that fails
    r"HealthReport\(type\(self\)\.__name__, None, None",  # also of a server that fails
    r"^class (LimiterCircuitBreaker|Fallback\w+)\b|if (open_fallback|self\._circuit_breaker) ",  # used without a server
    r"= (LimiterCircuitBreaker|Fallback\w+)\(|, open_fallback, ",  # also used without a server
    r"def _decode\b|def mark_gap\(self, room_ids",  # used by backends whose events cross a network
    r"def rooms\(self\) -> Sequence",  # also used by these backends
    r"round_trip_ms = ",  # the digits of a duration
    r"extend_index\(|propagate_size\(|_delete\(room, |in the room twice$|_is_checked",  # caches that only save time
    r"queue = self\._queues\.get\(|queue\.loop is not loop|_peek_versioned\(|and not is_current",  # also these caches
    r"if all\(user\.is_host|def newest\b|\bsame_users\b",  # shortcuts with the same result
    r"return user\.model_copy\(update=\{\"is_host\": False\}\)",  # the same flag on both sides of a comparison
    r"raise ConflictError\(",  # of repetitions that take too long, or of a change that writes the room itself
    r"_write_count|_purge_time \+ |queues\.pop\(",  # when memory is freed
    r"self\._loop\b|suppress\(RuntimeError\)",  # queues that another thread fills
    r"^def ensure_asyncio\b",  # event loops of other libraries
    r"def (restore|_milliseconds|for_reset)\b",  # restoring snapshots is not part of the contract
    r"^def (open_memory|open_sqlite|path_in)\b",  # URLs; a harness opens its stores itself
    r"^class WorkerThread\b|def (_deadline_error|_fail_conflicting|_end|_expire)\b|_DEADLINE_GRACE|_MAX_APPLY",  # time
    r"queue\.loop\.time\(|self\._(end|expire)\(|enumerate\(queue\.batch|queue\.waiting\[:0\]",  # also time
    r"\b(attempts|elapsed|seconds)\b.* [-+]?= |\belapsed [-+<>]|\bis_available = ",  # repetitions and pauses
    r"call_exception_handler\(|__cause__ = ",  # what is logged, and why
    r"def statistics\b",  # counts for operators
    r"def decode_all\b",  # used by Redis only
    r"^def is_id\b",  # used by the command line only
)
"""Lines that the contract suite can't judge by principle, with the reason. A pattern on a `def` covers the function."""

_INVISIBLE_IN_SQLITE = (
    r"\b_translate\(|\bis_sent\b|busy_timeout|FileNotFoundError|sqlite3\.(connect\(|\w*Error)",  # errors of files
    r"journal_mode|BEGIN IMMEDIATE|def disconnect\b",  # locks of files
    r"self\._connection\b.* = None|self\._file: ",  # initial values, of which only the truth matters
)
"""The same for the SQLite example: the file must be damaged or locked for most of them."""


@dataclass(frozen=True)
class Target:
    """The code to mutate, and the tests that must fail.

    Attributes:
        modules: file patterns, relative to the folder of all import packages.
        tests: test files and other pytest arguments.
        excluded: patterns of lines that are not mutated.
        min_killed: smallest accepted share of killed mutants.
        has_sql: whether texts are SQL. Mutants that only change their case are equivalent, and are not counted.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    min_killed: float = 0.9
    has_sql: bool = False


TARGETS = {
    "rules": Target(("wnc_store/rules.py",), ("tests/unit/test_rules.py", "contract_tests/test_memory.py")),
    "redis": Target(
        tuple(f"wnc_store_redis/{name}.py" for name in _REDIS),
        (
            "tests/unit/redis_backend",
            "tests/redis/test_round_trips.py",
            "tests/redis/test_multiplexer.py",
            "tests/stress/test_interleavings.py",
            "contract_tests/test_fakeredis.py",
            *(f"--deselect={test}" for test in _SLOW),
        ),
    ),
    "memory": Target(
        ("wnc_store_memory/*.py",),
        (
            "tests/unit/test_memory.py",
            "tests/redis/test_restore.py",
            "tests/redis/test_transfer.py",
            "tests/unit/test_settings.py",
            "contract_tests/test_memory.py",
        ),
    ),
    "contract/memory": Target(
        (
            "wnc_store/rules.py",
            *(f"wnc_store/base/{name}.py" for name in _BASE),
            "wnc_store_memory/*.py",
        ),
        ("contract_tests/test_memory.py",),
        excluded=(*_INVISIBLE, r"^def append\b"),  # used by backends that store bytes; see the target "rules"
        min_killed=0.95,
    ),
    "contract/kit": Target(
        (*(f"wnc_store/base/{name}.py" for name in _KIT), "wnc_store/base/key_value/*.py"),
        ("contract_tests/test_key_value.py",),
        excluded=_INVISIBLE,
        min_killed=0.95,
    ),
    "contract/single": Target(
        ("wnc_store/base/compare_and_set.py",),
        ("tests/stress/contract/test_compare_and_set.py",),
        excluded=_INVISIBLE,
        min_killed=0.95,
    ),
    "contract/sqlite": Target(
        ("wnc_store_sqlite/_*.py",),
        ("contract_tests/test_sqlite.py",),
        excluded=(*_INVISIBLE, *_INVISIBLE_IN_SQLITE),
        min_killed=0.95,
        has_sql=True,
    ),
}


def copy_project(target: Target, folder: Path) -> None:
    """Copy the project into the layout that mutmut requires."""
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "build", ".hypothesis")
    sqlite = ROOT / "examples" / "third_party_backend"
    packages = [
        ROOT / "wnc_store",
        *(ROOT / "backends").iterdir(),
        ROOT / "contract_tests" / "wnc_store_contract",
        sqlite / "wnc_store_sqlite",
    ]
    for package in packages:
        if package.is_dir():
            shutil.copytree(package, folder / "src" / package.name, ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignored)
    for pattern in target.modules:
        for module in (folder / "src").glob(pattern):
            exclude_blocks(module, target.excluded)
    (folder / "contract_tests").mkdir()
    for test in (ROOT / "contract_tests").glob("*.py"):
        shutil.copy(test, folder / "contract_tests")
    shutil.copy(sqlite / "tests" / "test_contract.py", folder / "contract_tests" / "test_sqlite.py")
    shutil.copy(ROOT / "conftest.py", folder)
    pyproject = (ROOT / "pyproject.toml").read_text()
    start = pyproject.index("[tool.pytest.ini_options]")
    pytest_options = pyproject[start : pyproject.index("\n[", start + 1)].replace("timeout = 600", "timeout = 120")
    pytest_options = pytest_options.replace('filterwarnings = ["error"]', "")  # warnings must not judge
    options = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{module}" for module in target.modules],
        "also_copy": ["contract_tests", "tests", "conftest.py", "examples"],
        "do_not_mutate_patterns": list(target.excluded),
        "pytest_add_cli_args_test_selection": list(target.tests),
        # mutmut ends a mutant after five times the duration of its tests plus ten seconds.
        "timeout_multiplier": 5,
        "timeout_constant": 10,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (folder / "pyproject.toml").write_text(
        "\n".join([pytest_options, "", "[tool.mutmut]", *lines, "use_git_change_detection = false", ""])
    )


def exclude_blocks(module: Path, excluded: tuple[str, ...]) -> None:
    """Mark the functions and classes whose first line matches a pattern. mutmut excludes matching lines only."""
    lines = module.read_text().splitlines()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            header = node.body[0].lineno - 2  # the first statement is the docstring
            if (
                any(re.search(pattern, lines[node.lineno - 1]) for pattern in excluded)
                and "pragma" not in lines[header]
            ):
                lines[header] += "  # pragma: no mutate block"
    module.write_text("\n".join([*lines, ""]))


def mutmut(folder: Path, *arguments: str, shown: bool = False) -> str:
    """Run mutmut in a folder and return its output, or print the output if `shown`."""
    output = None if shown else subprocess.PIPE
    done = subprocess.run([MUTMUT, *arguments], cwd=folder, check=True, stdout=output, text=True)  # noqa: S603 - fixed command
    return done.stdout or ""


def run(name: str) -> bool:
    """Run a target, print its survivors, and return whether enough mutants were killed."""
    folder = BUILD / name
    copy_project(TARGETS[name], folder)
    mutmut(folder, "run", "--max-children", str(PROCESSES), shown=True)
    mutmut(folder, "export-cicd-stats")
    stats = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())
    killed, total = stats["killed"] + stats["timeout"], stats["total"]
    for line in mutmut(folder, "results").splitlines():
        diff = mutmut(folder, "show", line.strip().partition(":")[0]).splitlines()
        changed = [text for text in diff if text[:1] in {"+", "-"} and text[1:2] not in {"+", "-"}]
        if (
            TARGETS[name].has_sql
            and line.endswith(": survived")
            and len({text[1:].casefold() for text in changed}) == 1
        ):
            total -= 1
            continue
        print(line.strip(), *changed, sep="\n  ")
    print(f"{name}: {killed} of {total} killed ({killed / total:.1%})\n")
    return killed >= TARGETS[name].min_killed * total


if __name__ == "__main__":
    os.nice(10)
    chosen = sys.argv[1:] or [""]
    results = [run(name) for name in TARGETS if name.startswith(tuple(chosen))]  # run all targets, even after a failure
    sys.exit(not all(results))
