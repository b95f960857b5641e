# Make sure that redis-server is on PATH. The tests start their own servers with it.
if command -v redis-server >/dev/null 2>&1; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing redis-server"
  # Debian's package may also start a server as a service. The tests do not use it.
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null
fi
if ! command -v redis-server >/dev/null 2>&1; then
  echo "error: redis-server not found on PATH. Install it with 'sudo apt-get install redis-server' (Debian, Ubuntu)" >&2
  echo "or 'brew install redis' (macOS), then run this command again." >&2
  exit 1
fi
