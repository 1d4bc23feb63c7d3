#!/usr/bin/env bash
# Runs the demonstration and removes everything it made, however it ends.
#
#   demo.sh HOMEOSTAT_BINARY      DEMO_SECONDS in the environment bounds its length
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$root/deploy/setup/common.sh"

readonly NAME=demo
readonly STACK="$root/deploy/demo/stack.sh"

# An interrupted run may have got as far as any step, so all of it is taken down.
cleanup() {
    "$STACK" down "$NAME" --image
    as_root rm -rf "$state"
}

# Keeps the environment: it may configure Homeostat.
as_root_here() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -E "$@"; fi
}

main() {
    local binary="${1:?usage: demo.sh HOMEOSTAT_BINARY}"
    # The embedded log and whatever else the run keeps: all temporary files go here.
    state="$(mktemp -d "${TMPDIR:-/tmp}/homeostat-demo.XXXXXX")"
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    "$STACK" down "$NAME"
    as_root_here env TMPDIR="$state" "$binary" demo --stack "$STACK" ${DEMO_SECONDS:+--seconds "$DEMO_SECONDS"}
}

main "$@"
