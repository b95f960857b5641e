"""Build the wheel and test it outside the checkout, with only the packages that its metadata requires.

Nothing is downloaded: the required packages are symbolic links into this environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from processes import reset_process_state  # noqa: E402 - in the folder added to sys.path above
from redis_server import redis_server  # noqa: E402 - in the folder added to sys.path above

PACKAGES = {
    "wnc_store": ROOT / "wnc_store",
    "wnc_store_memory": ROOT / "backends/wnc_store_memory",
    "wnc_store_postgres": ROOT / "backends/wnc_store_postgres",
    "wnc_store_redis": ROOT / "backends/wnc_store_redis",
    "wnc_store_contract": ROOT / "contract_tests/wnc_store_contract",
    "wnc_store_bench": ROOT / "benchmarks/wnc_store_bench",
}
FILES = {
    f"{package}/{path.relative_to(folder).as_posix()}"
    for package, folder in PACKAGES.items()
    for path in folder.rglob("*")
    if path.suffix in {".py", ".typed", ".lua", ".sql", ".json", ".js"} and "node_modules" not in path.parts
}
"""Paths in the wheel of all source and data files."""

BARE = """
import wnc_store, wnc_store_memory
assert "site-packages" in wnc_store.__file__, wnc_store.__file__
import wnc_store.otel
store = wnc_store.open_store("memory://")
assert wnc_store.otel.instrument(store) is store
needed = {
    "wnc_store.open_store('postgresql://localhost/db')": "postgres",
    "wnc_store.open_store('redis://localhost')": "redis",
    "import wnc_store_contract": "contract",
    "import wnc_store.starlette": "starlette",
    "import wnc_store_bench": "bench",
}
for use, extra in needed.items():
    try:
        exec(use)
    except ImportError as error:
        assert f"wnc-store[{extra}]" in str(error), error
    else:
        raise AssertionError(use)
"""

COMMANDS = """
from typer.testing import CliRunner
from wnc_store.cli.app import app
listed = CliRunner().invoke(app, ["--help"]).output
for command, extra in {"verify": "contract", "bench": "bench"}.items():
    assert command in listed, listed
    result = CliRunner().invoke(app, [command, "memory://", "--json"])
    assert (result.exit_code, f"pip install 'wnc-store[{extra}]'" in result.output) == (2, True), result.output
"""

SELECTION = "record or room"
"""The clauses to run. `make tests` runs all of them on the checkout."""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command and print its output only if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed ({done.returncode}): {' '.join(words)}")


def check_files(wheel: Path) -> None:
    """Check that the wheel contains all files of the five packages, the metadata, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    if top != PACKAGES.keys() | {f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}:
        sys.exit(f"the wheel contains {sorted(top)}, expected {sorted(PACKAGES)} and its metadata")
    if missing := FILES - set(names):
        sys.exit(f"files are missing from the wheel: {sorted(missing)}")


def check_description(metadata: Path) -> None:
    """Check that all links of the long description are absolute: a package index cannot resolve others."""
    if relative := re.findall(r"\]\((?!https?:)[^)]*\)", (metadata / "METADATA").read_text(encoding="utf-8")):
        sys.exit(f"the long description has relative links: {relative}; see fancy-pypi-readme in pyproject.toml")


def link(requiring: Distribution, site: Path, *extras: str) -> None:
    """Link the requirements of a distribution with these extras into `site`, and their requirements."""
    for line in requiring.requires or []:
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            continue
        required = distribution(requirement.name)
        if required.name == requiring.name:
            link(requiring, site, *requirement.extras)
            continue
        new = False
        for top in {file.parts[0] for file in required.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(required.locate_file(top)))
                new = True
        if new or requirement.extras:
            link(required, site, *requirement.extras)


def main() -> None:
    """Build the wheel, install it and run parts of it."""
    reset_process_state()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("wheel: build", flush=True)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
        (wheel,) = folder.glob("*.whl")
        check_files(wheel)
        venv.create(folder / "venv", symlinks=True)
        python, command = folder / "venv/bin/python", folder / "venv/bin/wnc-store"
        pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
        (metadata,) = folder.glob("venv/lib/*/site-packages/wnc_store-*.dist-info")
        check_description(metadata)
        installed, site = Distribution.at(metadata), metadata.parent
        print("wheel: test without extras", flush=True)
        link(installed, site)
        run(python, "-W", "error", "-c", BARE, cwd=folder)
        print("wheel: test the command line without the extras of its commands", flush=True)
        link(installed, site, "cli")
        run(python, "-W", "error", "-c", COMMANDS, cwd=folder)
        print("wheel: test with extras: demo, quickstart, some clauses, benchmark on Redis", flush=True)
        link(installed, site, "cli", "redis", "contract", "bench")
        run(command, "demo", cwd=folder)
        run(python, "-W", "error", ROOT / "examples/quickstart.py", cwd=folder)
        (folder / "test_wheel.py").write_text((ROOT / "contract_tests/test_memory.py").read_text())
        run(python, "-m", "pytest", "-q", "-k", SELECTION, "test_wheel.py", cwd=folder)
        with redis_server() as server:
            some = ["--only", "fixed_rate", "--contenders", "wnc-store,redis-py"]
            run(command, "bench", server.url, "--quick", *some, cwd=folder)
    print("wheel: ok")


if __name__ == "__main__":
    main()
