#!/usr/bin/env bash
# Installs what some tests run besides Docker and Kafka: Prometheus, to check the alert rules and scrape the metrics,
# Chromium, to look at the console's page, libfaketime, to step the clock of single processes, HAProxy, which the tests start
# themselves, and NumPy, which the reference scorer of detectors needs. Starts none as a service.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

main() {
    local packages=()
    have prometheus || packages+=(prometheus)
    have chromium || packages+=(chromium)
    installed haproxy || packages+=(haproxy)
    installed libfaketime || packages+=(libfaketime)
    installed python3-numpy || packages+=(python3-numpy)
    if [ "${#packages[@]}" -gt 0 ]; then
        without_services apt_install "${packages[@]}"
    fi
    say "Prometheus, Chromium, HAProxy, libfaketime and NumPy are there"
}

main
