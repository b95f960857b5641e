# Run the tests on each installed Python from 3.11 to 3.13, each in a separate virtual environment.
set -eu
tried=0
for version in 3.11 3.12 3.13; do
  python=$(sh scripts/find-python.sh "$version")
  if [ -z "$python" ]; then
    echo "== Python $version: not installed"
    continue
  fi
  echo "== $("$python" --version)"
  make --no-print-directory tests VENV=".venv-$version" PYTHON="$python"
  tried=$((tried + 1))
done
[ "$tried" -gt 0 ] || { echo "error: no Python from 3.11 to 3.13 found" >&2; exit 1; }
