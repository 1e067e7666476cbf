#!/usr/bin/env bash
# Installs Chromium from the Debian archive, for the tests that drive a real browser (pytest -m real).
# Does nothing where a `chromium` is already there. Needs root, or sudo without a password.
set -euo pipefail

if command -v chromium >/dev/null; then
  echo "chromium is already here: $(command -v chromium)"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "this system has no apt-get: install Chromium by hand, so that 'chromium' is on the PATH" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
fi
echo "installing with apt-get: chromium, fonts-liberation (and what they depend on)"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
  chromium fonts-liberation >/dev/null
echo "installed $(chromium --version 2>/dev/null | tail -n 1)"
