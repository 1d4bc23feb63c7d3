#!/usr/bin/env bash
# Makes sure that the workspace can be built: a C compiler, make, pkg-config, OpenSSL's headers, and Rust itself.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

# The oldest compiler that builds us; the same as rust-version in Cargo.toml.
readonly RUST_MINOR=95

missing_packages() {
    have cc && have c++ || printf '%s\n' gcc g++
    have make || printf '%s\n' make
    have pkg-config || printf '%s\n' pkg-config
    { have pkg-config && pkg-config --exists openssl; } || printf '%s\n' libssl-dev
}

check_rust() {
    local minor
    have cargo || die "there is no cargo: install Rust 1.$RUST_MINOR or newer, https://rustup.rs"
    minor="$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\)\..*/\1/p')"
    [ "${minor:-0}" -ge "$RUST_MINOR" ] || die "$(rustc --version) is too old: Rust 1.$RUST_MINOR or newer is needed, try 'rustup update'"
}

main() {
    local packages
    check_rust
    mapfile -t packages < <(missing_packages)
    if [ "${#packages[@]}" -gt 0 ]; then
        apt_install "${packages[@]}"
    fi
    say "$(rustc --version | cut -d' ' -f1,2), a C compiler and OpenSSL are there"
}

main
