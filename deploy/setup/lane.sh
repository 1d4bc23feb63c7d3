#!/usr/bin/env bash
# Cargo runs each test program through this, in the program's package: it runs if it belongs to HOMEOSTAT_LANE, as root, so that cargo
# itself, and what it builds, stay the caller's.
#
#   lane.sh PROGRAM [arguments]
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

# Cargo puts a hash behind the test's name.
test="$(basename "$1")"
test="${test%-*}"
lane=others
if [[ "$PWD" == */tests/e2e && " $HOSTS_TESTS " == *" $test "* ]]; then
    lane=hosts
fi
if [ "$lane" != "$HOMEOSTAT_LANE" ]; then
    say "$test runs in the other lane"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    exec "$@"
fi
exec sudo -E "$@"
