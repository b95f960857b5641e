# Install Chromium for the browser tests of `make stress`, if this user may. Otherwise report that they are skipped.
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then
    exit 0
  fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing chromium (one or two minutes)"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu fonts-noto-color-emoji >/dev/null
fi
if ! command -v chromium >/dev/null 2>&1; then
  echo "chromium, chromium-browser or google-chrome not found on PATH: browser tests are skipped" >&2
fi
