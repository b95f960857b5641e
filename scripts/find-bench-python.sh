# Print the path of a Python from 3.11 to 3.13 that was built with profile-guided optimisation, or of any if there is none.
folder=$(dirname "$0")
for candidate in python3 python3.13 python3.12 python3.11 /usr/bin/python3.1[1-3] "$HOME"/.pyenv/versions/3.1[1-3].*/bin/python; do
  if "$candidate" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 &&
    "$candidate" "$folder/../benchmarks/wnc_store_bench/interpreter.py"; then
    command -v "$candidate"
    exit
  fi
done
sh "$folder/find-python.sh"
