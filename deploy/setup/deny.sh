#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licences, bans, sources, and known advisories where their database is in reach.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

cd "$here/../.."
have cargo-deny || {
    say "installing cargo-deny"
    # A target directory of its own, removed by cargo: its build is nothing of ours.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-deny
}
cargo deny --log-level error check licenses bans sources
# The database is a git repository: where it cannot be fetched, that is said, not failed.
if output="$(cargo deny --log-level error fetch db 2>&1)"; then
    cargo deny --log-level error check --disable-fetch advisories
else
    printf '%s\n' "$output" | tail -n 3 >&2
    say "ADVISORIES WERE NOT CHECKED: their database could not be fetched"
fi
