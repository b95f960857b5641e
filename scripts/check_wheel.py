"""Build the wheel and try it in a clean environment: first bare, then with its extras, away from the checkout."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from redis_server import redis_server  # noqa: E402 - found on the path above

BARE = """
import wnc_store, wnc_store_memory
assert "site-packages" in wnc_store.__file__, wnc_store.__file__
import wnc_store.otel
store = wnc_store.open_store("memory://")
assert wnc_store.otel.instrument(store) is store
needed = {
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


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nfailed ({done.returncode}): {' '.join(map(str, command))}")


def main() -> None:
    """Build, install and try."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print("wheel: build")
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "venv", with_pip=True)
        python, command = folder / "venv/bin/python", folder / "venv/bin/wnc-store"
        pip = (python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
        print("wheel: bare, without extras")
        run(*pip, wheel, cwd=folder)
        run(python, "-W", "error", "-c", BARE, cwd=folder)
        print("wheel: with its extras: demo, quickstart, contract on memory and on Redis, benchmark")
        run(*pip, f"{wheel}[cli,redis,contract,bench]", cwd=folder)
        run(command, "demo", cwd=folder)
        run(python, "-W", "error", ROOT / "examples/quickstart.py", cwd=folder)
        run(command, "verify", "memory://", cwd=folder)
        with redis_server() as server:
            run(command, "verify", server.url, cwd=folder)
            run(command, "bench", server.url, "--quick", "--only", "get_room,crowd", cwd=folder)
    print("wheel: good")


if __name__ == "__main__":
    main()
