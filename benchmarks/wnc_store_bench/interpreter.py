"""Whether Python was built with profile-guided optimisation (PGO), which makes it much faster.

As a script it exits with 0 if so. It needs only the standard library, because scripts/find-bench-python.sh runs it with
interpreters that lack the project's packages.
"""

import sys
import sysconfig


def is_optimised() -> bool:
    """Return whether this interpreter was built with PGO."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    if arguments is None:
        return True  # Windows, whose builds are optimised
    # Debian and Ubuntu optimise the interpreter, but record the arguments of another build.
    return "--enable-optimizations" in arguments or "deb_system" in sysconfig.get_scheme_names()


if __name__ == "__main__":
    sys.exit(not is_optimised())
