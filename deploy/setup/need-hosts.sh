#!/usr/bin/env bash
# Installs what tests with several hosts on one machine run: the programs of a Docker Engine, which those tests start themselves,
# iptables for them, iproute2 for the network between the hosts, a registry of images, and HAProxy before them. Starts none as a
# service.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$here/common.sh"

# /usr/sbin is not on everybody's path.
have_daemon() {
    have "$1" || [ -x "/usr/sbin/$1" ]
}

main() {
    local packages=()
    { have_daemon dockerd && have_daemon containerd && have docker; } || packages+=(docker.io)
    have_daemon ip || packages+=(iproute2)
    have_daemon iptables || packages+=(iptables)
    have docker-registry || packages+=(docker-registry)
    have_daemon haproxy || packages+=(haproxy)
    { have nsenter && have unshare; } || packages+=(util-linux)
    if [ "${#packages[@]}" -gt 0 ]; then
        without_services apt_install "${packages[@]}"
    fi
    say "dockerd, containerd, iptables, iproute2, docker-registry and haproxy are there"
}

main
