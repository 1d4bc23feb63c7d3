#!/usr/bin/env bash
# Makes the demo image from one static binary, without a registry.
#
#   image.sh          builds deploy/demo and imports it as homeostat-demo:latest, unless that very binary is there already
#   image.sh remove   removes the image
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# shellcheck source=deploy/setup/common.sh
. "$root/deploy/setup/common.sh"

readonly IMAGE="homeostat-demo:latest"
# Outside io.homeostat, where every label says something to Homeostat: containers inherit their image's labels.
readonly DIGEST_LABEL="homeostat-demo.sha256"
# In the image, not in stack.sh: `docker run` can only give a health check to a shell, and the image has none. The
# process of the check lives under the container's own limits, hence the patience.
readonly HEALTHCHECK='HEALTHCHECK --interval=2s --timeout=3s --retries=3 CMD ["/demo-app","health"]'

# Static for the gnu target: the musl one may not be installed, and needs a download.
build() {
    local host
    host="$(rustc -vV | sed -n 's/^host: //p')"
    (cd "$root" && RUSTFLAGS="-C target-feature=+crt-static" cargo build --quiet --release -p demo-app --target "$host")
    printf '%s/%s/release/demo-app' "$(target_dir)" "$host"
}

target_dir() {
    (cd "$root" && mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
}

digest_of_image() {
    docker_cli image inspect --format "{{index .Config.Labels \"$DIGEST_LABEL\"}}" "$IMAGE" 2>/dev/null || true
}

import() {
    local binary digest
    binary="$(build)"
    # This file says what else is in the image.
    digest="$(cat "$binary" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)"
    if [ "$(digest_of_image)" = "$digest" ]; then
        say "$IMAGE is up to date"
        return
    fi
    tar -C "$(dirname "$binary")" --owner=0 --group=0 --mode=755 -c demo-app |
        docker_cli import \
            -c 'ENTRYPOINT ["/demo-app"]' \
            -c "$HEALTHCHECK" \
            -c "LABEL $DIGEST_LABEL=$digest" \
            - "$IMAGE" >/dev/null
    remove_superseded
    say "made $IMAGE"
}

# An image whose name a newer one took keeps its layers until it is removed. One still in use stays.
remove_superseded() {
    local id
    for id in $(docker_cli image ls --quiet --filter dangling=true --filter "label=$DIGEST_LABEL"); do
        docker_cli image rm "$id" >/dev/null 2>&1 || true
    done
}

case "${1:-make}" in
    make) import ;;
    remove)
        docker_cli image rm --force "$IMAGE" >/dev/null 2>&1 || true
        remove_superseded
        say "removed $IMAGE"
        ;;
    *) die "unknown verb '$1': use no verb, or 'remove'" ;;
esac
