#!/usr/bin/env bash
# Runs the fuzz targets of tests/fuzz, each for a bounded number of runs, time and memory, on the stable compiler.
#
#   fuzz.sh              every target
#   fuzz.sh TARGET...    these
#
# FUZZ_RUNS and FUZZ_SECONDS bound each target, FUZZ_SEED makes its inputs other ones. A run begins from tests/fuzz/seeds and
# keeps nothing, so that it depends on the checkout alone; an input that breaks a target is written to tests/fuzz/artifacts
# and named.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

root="$(cd "$here/../.." && pwd)"
readonly root FUZZ="$root/tests/fuzz"
# Beside the other builds, which know nothing of coverage counters.
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}/fuzz"
export CARGO_TARGET_DIR
readonly RUNS="${FUZZ_RUNS:-200000}" SECONDS_EACH="${FUZZ_SECONDS:-20}" SEED="${FUZZ_SEED:-1}"
readonly RSS_MB=512 INPUT_BYTES=4096 INPUT_SECONDS=10

install_fuzzer() {
    cargo fuzz --version >/dev/null 2>&1 && return
    say "installing cargo-fuzz"
    # A target directory that cargo removes: its build is nothing of ours.
    env -u CARGO_TARGET_DIR cargo install --quiet --locked cargo-fuzz
}

# Coverage counters are a compiler's flag that stable has; only cargo-fuzz asks for more, and that the variable allows.
# Sanitizers it has not: our code is safe Rust, where a fault is a panic.
fuzz() {
    (cd "$FUZZ" && RUSTC_BOOTSTRAP=1 cargo fuzz "$@")
}

run() {
    local target="$1" corpus seeds=()
    corpus="$(mktemp -d)"
    if [ -d "$FUZZ/seeds/$target" ]; then
        seeds=("$FUZZ/seeds/$target")
    fi
    local status=0
    fuzz run --fuzz-dir . --sanitizer none "$target" "$corpus" "${seeds[@]}" -- \
        -runs="$RUNS" -max_total_time="$SECONDS_EACH" -seed="$SEED" -max_len="$INPUT_BYTES" \
        -timeout="$INPUT_SECONDS" -rss_limit_mb="$RSS_MB" -print_final_stats=1 >"$corpus.log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$corpus.log" >&2
        say "$target FAILED: the input is named above"
    else
        say "$target: $(sed -n 's/^stat::number_of_executed_units: */runs /p; s/^stat::peak_rss_mb: */peak MB /p' "$corpus.log" | paste -sd, -)"
    fi
    rm -rf "$corpus" "$corpus.log"
    return "$status"
}

main() {
    local targets=("$@") failed=() target
    install_fuzzer
    if [ "${#targets[@]}" -eq 0 ]; then
        mapfile -t targets < <(fuzz list --fuzz-dir .)
    fi
    [ "${#targets[@]}" -gt 0 ] || die "there are no targets in $FUZZ"
    fuzz build --fuzz-dir . --sanitizer none || die "the targets do not build: see the compiler's words above"
    for target in "${targets[@]}"; do
        run "$target" || failed+=("$target")
    done
    [ "${#failed[@]}" -eq 0 ] || die "broken: ${failed[*]}"
}

main "$@"
