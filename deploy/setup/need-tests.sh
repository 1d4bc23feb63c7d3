#!/usr/bin/env bash
# Installs what some tests run besides Docker and Kafka: Prometheus, to check the alert rules and scrape the metrics,
# and Chromium, to look at the console's page. Starts neither as a service.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

main() {
    local packages=()
    have prometheus || packages+=(prometheus)
    have chromium || packages+=(chromium)
    if [ "${#packages[@]}" -gt 0 ]; then
        without_services apt_install "${packages[@]}"
    fi
    say "Prometheus and Chromium are there"
}

main
