#!/usr/bin/env bash
# Fetches Apache Kafka for the tests: Java and Maven from Debian, then the broker's jars. Starts nothing.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

# Kafka 4 needs Java 17.
readonly JAVA_MAJOR=17

java_major() {
    have java || return 0
    java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1
}

main() {
    local packages=() major
    major="$(java_major)"
    [ "${major:-0}" -ge "$JAVA_MAJOR" ] || packages+=(default-jre-headless)
    have mvn || packages+=(maven)
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "${packages[@]}"
    fi
    "$here/../kafka/kafka.sh" fetch
    say "Java and Apache Kafka are there"
}

main
