#!/usr/bin/env bash
# Makes a Docker Engine answer: uses the one that is there, else installs Debian's and starts it.
#
#   need-docker.sh         an engine answers afterwards, or this fails and says why
#   need-docker.sh stop    ends the engine if, and only if, this script started it
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

readonly PID_FILE="$HOMEOSTAT_STATE/dockerd.pid"
readonly LOG_FILE="$HOMEOSTAT_STATE/dockerd.log"
readonly START_SECONDS=60
readonly STOP_SECONDS=60

# The server's version when an engine answers this user, else failure.
engine_version() {
    have docker && docker version --format '{{.Server.Version}}' 2>/dev/null
}

# The same asked as root: an engine may run and refuse this user. DOCKER_HOST names an engine for this user alone.
engine_version_as_root() {
    [ -z "${DOCKER_HOST:-}" ] && have docker && as_root docker version --format '{{.Server.Version}}' 2>/dev/null
}

engine_answers() {
    engine_version >/dev/null || engine_version_as_root >/dev/null
}

install_engine() {
    # /usr/local/bin/docker may be a client alone, so the daemon is what is looked for.
    if have dockerd || [ -x /usr/sbin/dockerd ]; then
        return
    fi
    apt_install docker.io iptables
    say "installed Docker Engine from Debian's docker.io"
}

# Docker writes its bridge rules with iptables, which must fit what the kernel offers. Where Debian's default variant
# does not work and the other does, dockerd gets that one by its PATH alone; the machine's own choice stays.
iptables_path() {
    local variant
    if as_root iptables -t nat -S >/dev/null 2>&1; then
        return
    fi
    for variant in legacy nft; do
        if as_root "/usr/sbin/iptables-$variant" -t nat -S >/dev/null 2>&1; then
            as_root mkdir -p "$HOMEOSTAT_STATE/bin"
            as_root ln -sf "/usr/sbin/iptables-$variant" "$HOMEOSTAT_STATE/bin/iptables"
            as_root ln -sf "/usr/sbin/ip6tables-$variant" "$HOMEOSTAT_STATE/bin/ip6tables"
            say "dockerd uses iptables-$variant, the default variant does not work on this kernel"
            printf '%s' "$HOMEOSTAT_STATE/bin:"
            return
        fi
    done
    die "neither iptables-nft nor iptables-legacy works here: Docker needs one of them for its bridge network"
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker
        say "started docker.service"
    else
        start_detached
    fi
    if ! wait_until "$START_SECONDS" engine_answers; then
        as_root tail -n 20 "$LOG_FILE" >&2 || true
        die "the engine does not answer after $START_SECONDS s: see $LOG_FILE, or journalctl -u docker"
    fi
}

# No service manager: dockerd in a session of its own, so that it outlives the caller's terminal.
start_detached() {
    local extra_path
    as_root mkdir -p "$HOMEOSTAT_STATE"
    extra_path="$(iptables_path)"
    # shellcheck disable=SC2016 # the inner shell expands these
    as_root env PATH="$extra_path/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        setsid sh -c 'echo $$ >"$1"; cat "/proc/$$/stat" | cut -d" " -f22 >>"$1"; exec dockerd >>"$2" 2>&1 </dev/null' \
        sh "$PID_FILE" "$LOG_FILE" &
    say "started dockerd, its log is $LOG_FILE"
}

# A pid file names the process and its start time: a reused pid is not ours.
stop_engine() {
    local pid started
    if ! as_root test -f "$PID_FILE"; then
        say "no engine was started here, nothing to stop"
        return
    fi
    { read -r pid; read -r started; } < <(as_root cat "$PID_FILE") || true
    if is_ours "$pid" "$started"; then
        as_root kill -TERM "$pid"
        wait_until "$STOP_SECONDS" gone "$pid" "$started" || die "dockerd, pid $pid, did not end in $STOP_SECONDS s"
        say "stopped dockerd, pid $pid"
    else
        say "the engine started here has already ended"
    fi
    as_root rm -f "$PID_FILE"
}

is_ours() {
    [ -r "/proc/$1/stat" ] && [ "$(cut -d' ' -f22 "/proc/$1/stat")" = "$2" ]
}

gone() {
    ! is_ours "$1" "$2"
}

main() {
    local version
    case "${1:-start}" in
        start) ;;
        stop) stop_engine; return ;;
        *) die "unknown verb '$1': use no verb, or 'stop'" ;;
    esac
    if version="$(engine_version)"; then
        say "Docker Engine $version answers"
        return
    fi
    if ! engine_answers; then
        if [ -n "${DOCKER_HOST:-}" ]; then
            die "no engine answers on DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST to use this machine's own"
        fi
        install_engine
        hash -r
        engine_answers || start_engine
    fi
    if version="$(engine_version)"; then
        say "Docker Engine $version answers"
    else
        version="$(engine_version_as_root)"
        say "Docker Engine $version answers to root only (to use it without sudo: sudo usermod -aG docker $(id -un), then log in again)"
    fi
}

main "$@"
