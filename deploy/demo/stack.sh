#!/usr/bin/env bash
# The demo stack: a web service, a worker, a patient and their traffic on one network.
#
#   stack.sh up NAME            starts it; prints KEY=VALUE lines on standard output, words on standard error
#   stack.sh down NAME          removes its containers, the replicas the loop added among them, and its network
#   stack.sh down NAME --image  the image too
#
# Needs homeostat-demo:latest, which image.sh makes. Everything carries the label io.homeostat.demo=NAME, which replicas
# copy, and `down` goes by that label alone.
#
# Rates, changed by BASE_RPS: the web service burns 8 ms of processor time a request and may use a quarter of a core, so
# one replica can serve about 30 requests/s at most. The base rate leaves it three quarters idle; 45 requests/s need two
# replicas at full load, and three at the target of 60 %.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$root/deploy/setup/common.sh"

readonly IMAGE="homeostat-demo:latest"
readonly BASE_RPS="${BASE_RPS:-8}"
readonly PATIENT_RPS="${PATIENT_RPS:-10}"
readonly BURN_MS=8
readonly READY_SECONDS=60
# Attempts to publish a port that was free a moment ago.
readonly PORT_ATTEMPTS=10

# run NAME ROLE ARGUMENTS...: a detached container of the stack, with what all of them share.
run() {
    local name="$1" role="$2"
    shift 2
    docker_cli run --detach --name "$name-$role" --hostname "$name-$role" \
        --network "homeostat-$name" --network-alias "$role" \
        --label "io.homeostat.demo=$name" --label "io.homeostat.service=$role" \
        --restart no --log-opt max-size=10m --log-opt max-file=2 \
        "$@" >/dev/null
}

# run_published NAME ROLE CONTAINER_PORT ARGUMENTS...: prints the host port. A port left to the engine would change when
# the container is restarted, and whoever talks to it would lose it, so a free one is chosen here.
run_published() {
    local name="$1" role="$2" container_port="$3" attempt port
    shift 3
    for ((attempt = 1; attempt <= PORT_ATTEMPTS; attempt++)); do
        port="$((20000 + RANDOM % 12000))"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            continue
        fi
        if run "$name" "$role" --publish "127.0.0.1:$port:$container_port" "$@"; then
            printf '%s' "$port"
            return
        fi
        docker_cli rm --force "$name-$role" >/dev/null 2>&1 || true
    done
    die "could not start $name-$role: see the engine's words above"
}

up() {
    local name="$1" patient_port traffic_port
    docker_cli image inspect "$IMAGE" >/dev/null 2>&1 || die "no image $IMAGE: run deploy/demo/image.sh first"
    [ -z "$(containers "$name")" ] || die "the stack '$name' is there already: run '$0 down $name' first"
    docker_cli network create --label "io.homeostat.demo=$name" "homeostat-$name" >/dev/null
    run "$name" web --cpus 0.25 --memory 64m \
        --label io.homeostat.mode=act --label io.homeostat.heal=true \
        --label io.homeostat.scale=1..4 --label io.homeostat.scale.target=cpu=60% \
        "$IMAGE" web --burn-ms "$BURN_MS"
    run "$name" worker --cpus 0.25 --memory 64m --no-healthcheck \
        --label io.homeostat.mode=observe "$IMAGE" worker
    patient_port="$(run_published "$name" patient 8080 --cpus 0.25 --memory 96m \
        --label io.homeostat.mode=act --label io.homeostat.heal=true "$IMAGE" patient)"
    traffic_port="$(run_published "$name" traffic 9000 --memory 64m --no-healthcheck --label io.homeostat.mode=observe \
        "$IMAGE" traffic --target "web:8080=$BASE_RPS" --target "patient:8080=$PATIENT_RPS")"
    wait_until "$READY_SECONDS" healthy "$name-web" || die "$name-web is not healthy: see 'docker logs $name-web'"
    wait_until "$READY_SECONDS" healthy "$name-patient" || die "$name-patient is not healthy: see 'docker logs $name-patient'"
    say "the stack '$name' runs"
    printf '%s=%s\n' \
        NETWORK "homeostat-$name" \
        WEB "$(address "$name-web"):8080" \
        PATIENT "127.0.0.1:$patient_port" \
        TRAFFIC_CONTROL "127.0.0.1:$traffic_port" \
        BASE_RPS "$BASE_RPS"
}

healthy() {
    [ "$(docker_cli inspect --format '{{.State.Health.Status}}' "$1" 2>/dev/null)" = healthy ]
}

address() {
    docker_cli inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"
}

containers() {
    docker_cli ps --all --quiet --filter "label=io.homeostat.demo=$1"
}

networks() {
    docker_cli network ls --quiet --filter "label=io.homeostat.demo=$1"
}

# Safe to repeat, and after an `up` that failed half-way.
down() {
    local name="$1" containers networks
    containers="$(containers "$name")"
    networks="$(networks "$name")"
    [ -n "$containers$networks" ] || return 0
    # shellcheck disable=SC2086 # one argument for each id
    [ -z "$containers" ] || docker_cli rm --force --volumes $containers >/dev/null
    # shellcheck disable=SC2086 # one argument for each id
    [ -z "$networks" ] || docker_cli network rm $networks >/dev/null
    say "removed the stack '$name'"
}

main() {
    local verb="${1:-}" name="${2:-}" extra="${3:-}"
    [[ "$name" =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "usage: stack.sh up|down NAME [--image], NAME of a-z, 0-9 and -"
    case "$verb $extra" in
        "up ") up "$name" ;;
        "down ") down "$name" ;;
        "down --image")
            down "$name"
            "$root/deploy/demo/image.sh" remove
            ;;
        *) die "usage: stack.sh up|down NAME [--image], NAME of a-z, 0-9 and -" ;;
    esac
}

main "$@"
