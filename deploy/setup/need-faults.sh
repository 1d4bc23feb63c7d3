#!/usr/bin/env bash
# Installs what puts a delay on a container's network: iproute2, and Python for kernels without netem.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

main() {
    local packages=()
    have ip || packages+=(iproute2)
    have nsenter || packages+=(util-linux)
    have python3 || packages+=(python3)
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "${packages[@]}"
    fi
    say "iproute2, nsenter and Python are there"
}

main
