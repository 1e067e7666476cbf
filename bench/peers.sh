#!/bin/sh
# Installs the tools that the benchmarks run beside misoflow into a folder; then: MISOFLOW_PEERS=FOLDER make bench
#   FOLDER/bin           miso-sdk and mixpanel-utils
#   FOLDER/target-miso   and FOLDER/tap-mixpanel: environments of their own, their dependencies are old
#   FOLDER/node          mixpanel-import
# Miso's own command line is on no registry: set MISO_CLI to a checkout of MisoAI/miso-server-js-sdk at v0.6.6 in which
# "npm install --ignore-scripts" has run.
# What cannot be installed is said, and left out of the benchmarks.
set -u
[ $# -eq 1 ] || { echo "usage: bench/peers.sh FOLDER" >&2; exit 2; }
mkdir -p "$1" && cd "$1" || exit 1
python=${PYTHON:-python3}
missing=

install() { # FOLDER PACKAGE...
  folder=$1
  shift
  { [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"; } &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" || missing="$missing $*"
}

install . miso-sdk==1.3.0 'mixpanel-utils>=2.2.7,<4'
install target-miso target-miso==0.9.5
install tap-mixpanel tap-mixpanel==1.8.0
mkdir -p node && npm install --silent --no-fund --no-audit --prefix node mixpanel-import@3.1.43 || missing="$missing mixpanel-import"

[ -z "$missing" ] || { echo "not installed:$missing" >&2; exit 1; }
echo "MISOFLOW_PEERS=$(pwd)"
