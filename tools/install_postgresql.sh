#!/usr/bin/env bash
# Installs PostgreSQL from the Debian archive, for the tests that read a real database (pytest -m real).
# Does nothing where its programs are already there. Needs root, or sudo without a password.
# No server is left running: the tests start one of their own, as a user that is not root, on 127.0.0.1.
set -euo pipefail

if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
  echo "postgresql is already here: $(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "this system has no apt-get: install PostgreSQL by hand, so that /usr/lib/postgresql/*/bin has 'initdb'" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
fi
echo "installing with apt-get: postgresql (and what it depends on), without the cluster that Debian would start"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends postgresql-common >/dev/null
"${as_root[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends postgresql >/dev/null
echo "installed $(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
