# Print the path of a Python from 3.11 to 3.13, or of the version in $1 ("3.12"). Print nothing if there is none.
for candidate in ${1:+python$1} ${1:-python3 python3.13 python3.12 python3.11}; do
  case $candidate in python*) ;; *) continue ;; esac
  if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
    command -v "$candidate"
    exit
  fi
done
for candidate in "$HOME"/.pyenv/versions/${1:-3.1[1-3]}.*/bin/python; do
  if [ -x "$candidate" ]; then
    echo "$candidate"
    exit
  fi
done
