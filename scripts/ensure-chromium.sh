# See to it that a Chromium is on the PATH: the watch party's tests drive it.
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then
    exit 0
  fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing chromium"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu >/dev/null
fi
if ! command -v chromium >/dev/null 2>&1; then
  echo "error: the tests in a browser need chromium, chromium-browser or google-chrome on the PATH. Install one:" >&2
  echo "'sudo apt-get install chromium' on Debian; then run this again." >&2
  exit 1
fi
