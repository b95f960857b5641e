# See to it that a redis-server is on the PATH: the tests start their own with it.
if command -v redis-server >/dev/null 2>&1; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing redis-server"
  # Debian's package starts a server of its own where it can; nobody here needs it.
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null
fi
if ! command -v redis-server >/dev/null 2>&1; then
  echo "error: the tests need a redis-server on the PATH. Install it: 'sudo apt-get install redis-server' on Debian" >&2
  echo "and Ubuntu, 'brew install redis' on macOS; then run this again." >&2
  exit 1
fi
