"""Mutation testing: change the code in every small way there is, and look whether a test turns red.

    python scripts/mutation.py [TARGET ...]    # a target is a key of TARGETS; all of them if none is named

mutmut wants one folder that holds all import packages, so each target gets a copy of the project in `build/mutation`.
What survives is printed; docs/mutation.md says why it may.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutation"
MUTMUT = Path(sys.executable).with_name("mutmut")
FEWEST_KILLED = 0.9
PROCESSES = 2


_FAKE = "contract_tests/test_fakeredis.py::TestFakeRedis::test_"
_INTERLEAVINGS = "tests/stress/test_interleavings.py::test_"

_REDIS = (
    "room_storage",
    "group_commit",
    "cache",
    "chat",
    "transport/executor",
    "transport/multiplexer",
    "transport/connection",
)

_SLOW = (
    f"{_FAKE}any_sequence_of_operations",
    f"{_FAKE}many_rooms_are_listed",
    f"{_INTERLEAVINGS}pairs",
    f"{_INTERLEAVINGS}triples",
    f"{_INTERLEAVINGS}all_pairs",
    f"{_INTERLEAVINGS}equal_changes",
    f"{_INTERLEAVINGS}a_mistake_is_found",
    "tests/redis/test_multiplexer.py::test_an_oversized_command_fails_alone",
)
"""Tests that find nothing here which quicker ones do not, most of them on a fake server."""


@dataclass(frozen=True)
class Target:
    """What is changed, and which tests have to notice.

    Attributes:
        modules: patterns of files, as paths in the folder of all import packages.
        tests: files of tests, and what they are selected by.
    """

    modules: tuple[str, ...]
    tests: tuple[str, ...]


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
            "tests/redis/test_transfer.py",
            "tests/unit/test_settings.py",
            "contract_tests/test_memory.py",
        ),
    ),
}


def copy_project(target: Target, folder: Path) -> None:
    """Lay the project out as mutmut wants it."""
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "node_modules", "build", ".hypothesis")
    packages = [ROOT / "wnc_store", *(ROOT / "backends").iterdir(), ROOT / "contract_tests" / "wnc_store_contract"]
    for package in packages:
        if package.is_dir():
            shutil.copytree(package, folder / "src" / package.name, ignore=ignored)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignored)
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=ignored)
    (folder / "contract_tests").mkdir()
    for test in (ROOT / "contract_tests").glob("*.py"):
        shutil.copy(test, folder / "contract_tests")
    shutil.copy(ROOT / "conftest.py", folder)
    original = (ROOT / "pyproject.toml").read_text()
    start = original.index("[tool.pytest.ini_options]")
    pytest_options = original[start : original.index("\n[", start + 1)].replace("timeout = 120", "timeout = 20")
    options = {
        "source_paths": ["src"],
        "only_mutate": [f"src/{module}" for module in target.modules],
        "also_copy": ["contract_tests", "tests", "conftest.py", "examples"],
        "pytest_add_cli_args_test_selection": list(target.tests),
        # Where no test's own time-out ends a change, it ends after five times what its tests take and ten seconds.
        "timeout_multiplier": 5,
        "timeout_constant": 10,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (folder / "pyproject.toml").write_text(
        "\n".join([pytest_options, "", "[tool.mutmut]", *lines, "use_git_change_detection = false", ""])
    )


def mutmut(folder: Path, *arguments: str, shown: bool = False) -> str:
    """Run mutmut in a folder; return what it prints."""
    output = None if shown else subprocess.PIPE
    done = subprocess.run([MUTMUT, *arguments], cwd=folder, check=True, stdout=output, text=True)  # noqa: S603 - our tool
    return done.stdout or ""


def run(name: str) -> bool:
    """Run a target; print what survived, and tell whether enough was killed."""
    folder = BUILD / name
    copy_project(TARGETS[name], folder)
    mutmut(folder, "run", "--max-children", str(PROCESSES), shown=True)
    mutmut(folder, "export-cicd-stats")
    found = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())
    killed, total = found["killed"] + found["timeout"], found["total"]
    for line in mutmut(folder, "results").splitlines():
        changes = mutmut(folder, "show", line.strip().partition(":")[0]).splitlines()
        print(
            line.strip(), *[one for one in changes if one[:1] in {"+", "-"} and one[1:2] not in {"+", "-"}], sep="\n  "
        )
    print(f"{name}: {killed} of {total} killed ({killed / total:.1%})\n")
    return killed >= FEWEST_KILLED * total


if __name__ == "__main__":
    os.nice(10)
    results = [run(name) for name in sys.argv[1:] or TARGETS]  # all of them, also after one that falls short
    sys.exit(not all(results))
