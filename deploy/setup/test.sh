#!/usr/bin/env bash
# Runs every test of the workspace in two lanes side by side, since most of what tests do is wait: those named in HOSTS_TESTS, whose hosts
# have engines of their own, and all others, which share the machine's engine and take turns.
#
#   test.sh [options of cargo test]
#
# What the first lane printed comes when both are over, after the second's. Fails if any test did.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

printed="$(mktemp)"
hosts=
tidy_up() {
    # Ended by somebody: the other lane, which has a process group of its own, ends as well.
    [ -z "$hosts" ] || kill -- "-$hosts" 2>/dev/null || true
    rm -f "$printed"
}
trap tidy_up EXIT

# Test programs through deploy/setup/lane.sh, which runs those of this lane.
lane() {
    local lane="$1" runner
    shift
    runner="CARGO_TARGET_$(uname -m | tr a-z A-Z)_UNKNOWN_LINUX_GNU_RUNNER=$here/lane.sh"
    env "$runner" HOMEOSTAT_LANE="$lane" cargo test --workspace --no-fail-fast "$@" </dev/null
}

main() {
    local names=() status=0 name
    for name in $HOSTS_TESTS; do
        names+=(--test "$name")
    done
    cargo test --workspace --no-run "$@"
    set -m
    lane hosts "${names[@]}" "$@" >"$printed" 2>&1 &
    hosts=$!
    set +m
    lane others "$@" || status=$?
    say "the tests with several hosts:"
    wait "$hosts" || status=$?
    hosts=
    cat "$printed"
    return "$status"
}

main "$@"
