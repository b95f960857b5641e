# Install a Chromium, which drives the watch party's page in `make stress`, where that may be; elsewhere say that those
# tests are skipped.
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then
    exit 0
  fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing chromium (one or two minutes)"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu >/dev/null
fi
if ! command -v chromium >/dev/null 2>&1; then
  echo "no chromium, chromium-browser or google-chrome is on the PATH: the tests in a browser are skipped" >&2
fi
