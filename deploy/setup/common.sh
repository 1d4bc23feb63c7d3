# Sourced by the set-up scripts: how they speak, become root, and install Debian packages.
# shellcheck shell=bash

# Where a script keeps the pid files and logs of what it started.
HOMEOSTAT_STATE="${HOMEOSTAT_STATE:-/run/homeostat-setup}"

# One line on what was done, prefixed with the script's name.
say() {
    printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "'$1' needs root and there is no sudo: run as root, or install sudo"
    fi
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs Debian packages without asking. The package lists are fetched only when the ones at hand do not do:
# one unreachable third-party repository must not stop an installation that does not need it.
apt_install() {
    have apt-get || die "cannot install $*: only Debian's apt-get is known here, install them by hand"
    local options=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 --yes --no-install-recommends)
    say "installing $*"
    if ! apt_quietly install "${options[@]}" "$@" 2>/dev/null; then
        apt_quietly update -o Acquire::Retries=3 || say "some package lists could not be fetched, trying with the others"
        apt_quietly install "${options[@]}" "$@" || die "apt-get could not install $*: see its words above"
    fi
}

# apt-get with its output kept back unless it fails.
apt_quietly() {
    local output
    if ! output="$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null 2>&1)"; then
        printf '%s\n' "$output" | tail -n 15 >&2
        return 1
    fi
}

# Debian starts a service when its package is installed, unless this file says no. An own one is put there for the
# time of the installation; one that is there already stays as it is.
without_services() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    "$@"
}

# Waits until a command succeeds: wait_until SECONDS COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# The docker command line as a user the engine listens to. Whether that takes sudo is found out once.
docker_cli() {
    if [ -z "${HOMEOSTAT_DOCKER_AS:-}" ]; then
        if [ "$(id -u)" -eq 0 ] || [ -n "${DOCKER_HOST:-}" ] || docker version >/dev/null 2>&1; then
            HOMEOSTAT_DOCKER_AS=me
        else
            HOMEOSTAT_DOCKER_AS=root
        fi
    fi
    case "$HOMEOSTAT_DOCKER_AS" in
        me) docker "$@" ;;
        root) as_root docker "$@" ;;
    esac
}
