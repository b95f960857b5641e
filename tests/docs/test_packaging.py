"""Imports between packages, and public names. `make wheel` checks the contents of the wheel."""

from __future__ import annotations

import ast
import os
import re
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, entry_points, metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

import wnc_store
import wnc_store.base
import wnc_store.presence
import wnc_store.protocols
import wnc_store.starlette
import wnc_store_bench
import wnc_store_contract
import wnc_store_memory
import wnc_store_postgres
import wnc_store_redis
from processes import run, run_python
from wnc_store.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "wnc_store": ROOT / "wnc_store",
    "wnc_store_memory": ROOT / "backends/wnc_store_memory",
    "wnc_store_postgres": ROOT / "backends/wnc_store_postgres",
    "wnc_store_redis": ROOT / "backends/wnc_store_redis",
    "wnc_store_contract": ROOT / "contract_tests/wnc_store_contract",
    "wnc_store_bench": ROOT / "benchmarks/wnc_store_bench",
}


def version() -> str:
    """Return the version that pyproject.toml states."""
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]


def test_the_changelog_knows_the_version() -> None:
    """CHANGELOG.md has an entry for the version of pyproject.toml."""
    assert f"## [{version()}]" in (ROOT / "CHANGELOG.md").read_text()


def test_backends_are_found_by_scheme() -> None:
    """Each URL scheme has its entry points: one for the backend, one for its harness."""
    servers = {f"{name}{tls}" for name in ("redis", "valkey") for tls in ("", "s")}
    ours = {"memory", "unix", *servers, *(f"{name}+{kind}" for name in servers for kind in ("sentinel", "cluster"))}
    assert {entry.name for entry in entry_points(group="wnc_store.backends")} >= ours
    assert {entry.name for entry in entry_points(group="wnc_store.harnesses")} >= ours


def test_commands_are_found_by_name() -> None:
    """The contract suite and the benchmark register their commands by entry points that name the extras they need."""
    groups = ("wnc_store.commands.change", "wnc_store.commands.verify", "wnc_store.commands.measure")
    extras = {entry.name: entry.extras for group in groups for entry in entry_points(group=group)}
    assert extras == {"migrate": ["cli", "postgres"], "verify": ["contract"], "bench": ["bench"]}


def test_other_packages_are_imported_by_their_commands_only() -> None:
    """The command line imports no other package of the project before a command needs it."""
    code = "import sys, wnc_store.cli.app; print([name for name in sys.modules if name.startswith('wnc_store_')])"
    assert run_python("-c", code) == "[]\n"


@pytest.mark.parametrize(
    "module",
    [
        *(wnc_store, wnc_store.base, wnc_store.presence, wnc_store.protocols, wnc_store.starlette),
        *(wnc_store_memory, wnc_store_postgres, wnc_store_redis, wnc_store_contract, wnc_store_bench),
    ],
)
def test_the_public_face_is_sorted_and_whole(module: Any) -> None:
    """`__all__` is sorted and names what is there."""
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, as `package.module`, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("package", ["wnc_store_memory", "wnc_store_postgres", "wnc_store_redis"])
def test_backends_use_the_public_face_only(package: str) -> None:
    """A backend imports nothing of the library but public names of `wnc_store` and `wnc_store.base`."""
    public = {"wnc_store": set(wnc_store.__all__), "wnc_store.base": set(wnc_store.base.__all__)}
    for path in PACKAGES[package].rglob("*.py"):
        ours = {name for name in imports(path) if name.startswith("wnc_store")}
        assert {name for name in ours if not name.startswith(package)} <= public.keys(), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in public:
                assert {alias.name for alias in node.names} <= public[node.module], path


@pytest.mark.parametrize("package", ["wnc_store_postgres", "wnc_store_redis"])
def test_the_transport_does_not_depend_on_rooms(package: str) -> None:
    """`transport/` of a backend imports its own modules, and of the library only names that an app uses."""
    for path in (PACKAGES[package] / "transport").rglob("*.py"):
        ours = {name for name in imports(path) if name.startswith("wnc_store")}
        assert {name for name in ours if not name.startswith(f"{package}.transport.")} <= {"wnc_store"}, path


def test_each_public_name_has_one_home() -> None:
    """`wnc_store` exports what an app needs, `wnc_store.base` what only the author of a backend needs."""
    assert not set(wnc_store.__all__) & set(wnc_store.base.__all__)


def test_the_core_imports_no_other_package() -> None:
    """No module of `wnc_store` imports a backend, the contract suite or the benchmark."""
    for path in PACKAGES["wnc_store"].rglob("*.py"):
        assert [name for name in imports(path) if name.startswith("wnc_store_")] == [], path


def test_there_is_no_circle() -> None:
    """No module of a package imports, through others, itself."""
    for package, folder in PACKAGES.items():
        graph: dict[str, set[str]] = {}
        for path in folder.rglob("*.py"):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            graph[".".join(part for part in parts if part != "__init__")] = {
                name for name in imports(path) if name.startswith(f"{package}.")
            }
        for start, nearest in graph.items():
            reached: set[str] = set()
            ahead = set(nearest)
            while ahead:
                name = ahead.pop()
                reached.add(name)
                ahead |= graph.get(name, set()) - reached
            assert start not in reached, start


def test_modules_are_small() -> None:
    """No module has many more than 350 lines."""
    sizes = {path: len(path.read_text().splitlines()) for folder in PACKAGES.values() for path in folder.rglob("*.py")}
    assert {str(path): size for path, size in sizes.items() if size > 400} == {}


@pytest.mark.parametrize("minor", range(10, 15))
def test_only_supported_pythons_are_chosen(minor: int, tmp_path: Path) -> None:
    """`make` chooses a Python whose version is among the classifiers, and no older or newer one."""
    fake = tmp_path / "python3"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, {minor}); $2"\n')
    fake.chmod(0o755)
    supported = f":: 3.{minor}" in (ROOT / "pyproject.toml").read_text()
    found = run("/bin/sh", "scripts/find-python.sh", env={"PATH": str(tmp_path), "HOME": str(tmp_path)}).stdout
    assert found == (f"{fake}\n" if supported else "")


def test_the_benchmark_prefers_an_optimised_python(tmp_path: Path) -> None:
    """`make bench` chooses a Python that was built with optimisation over one that comes first on the PATH."""
    for name, optimised in (("python3", False), ("python3.12", True)):
        (tmp_path / name).write_text(f"#!/bin/sh\n[ $1 = -c ] || exit {0 if optimised else 1}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    found = run("/bin/sh", "scripts/find-bench-python.sh", env=environment).stdout
    assert found == f"{tmp_path / 'python3.12'}\n"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="newer versions install other packages")
def test_pinned_packages_accept_the_oldest_python() -> None:
    """Every installed package of constraints.txt accepts Python 3.11.0, so that each 3.11 can install it."""
    requirements: dict[str, str] = {}
    for pin in (ROOT / "constraints.txt").read_text().split():
        with suppress(PackageNotFoundError):
            requirements[pin] = metadata(pin.partition("==")[0])["Requires-Python"] or ""
    assert [pin for pin, wanted in requirements.items() if "3.11.0" not in SpecifierSet(wanted)] == []
    assert len(requirements) > 100


def test_make_refuses_an_environment_with_blanks() -> None:
    """A path that make would take for two is refused with what to do, before anything is made."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    stderr = run("make", "--dry-run", "demo", "VENV=two words", env=environment, code=2).stderr
    assert "VENV must be one path without spaces" in stderr


def test_the_version_is_told() -> None:
    """The library and its command report the installed version."""
    assert wnc_store.__version__ == version()
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.stdout) == (0, f"wnc-store {version()}\n")
