#!/usr/bin/env bash
# Installs Netdata, which `make bench-collector` measures the collector against. Starts no service: the bench runs the
# binary by itself, with a configuration of its own.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

if [ ! -x /usr/sbin/netdata ]; then
    without_services apt_install netdata
fi
say "$(/usr/sbin/netdata -v) is there"
