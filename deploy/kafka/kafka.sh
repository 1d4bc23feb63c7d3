#!/usr/bin/env bash
# Runs one Apache Kafka broker (KRaft, combined mode) on loopback, from jars that Maven fetches. For tests and for trying
# Homeostat out; a production cluster is installed by its own means.
#
#   kafka.sh fetch                          copies the jars to the cache; does nothing when they are there
#   kafka.sh start DIR [PORT [CONTROLLER]]  starts a broker with its data in DIR and prints its address. Ports not given
#                                           are chosen free the first time and kept in DIR after that.
#   kafka.sh stop DIR                       stops the broker of DIR
#
# Settings in DIR/extra.properties win over the ones written here.
#
# With KAFKA_PARENT set to a process id, `start` ties the broker to that process: when that process ends, the broker is
# killed and what it keeps in DIR is removed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${HOMEOSTAT_CACHE:-$HOME/.cache/homeostat}/kafka
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
jars=$cache/$version
readonly START_SECONDS=90 STOP_SECONDS=30

fail() {
    echo "kafka.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null || fail "$1 is missing; install the Debian package $2"
}

fetch() {
    [[ -e $jars/.complete ]] && return
    need java openjdk-17-jre-headless
    need mvn maven
    need flock util-linux
    mkdir -p "$cache"
    # Several test binaries may come here at once.
    exec 9>"$cache/.lock"
    flock 9
    [[ -e $jars/.complete ]] && return
    rm -rf "$jars"
    mvn --quiet --batch-mode --file "$here/pom.xml" dependency:copy-dependencies \
        "-DoutputDirectory=$jars" -DincludeScope=runtime >&2 ||
        fail "Maven could not fetch Apache Kafka $version; see its messages above"
    touch "$jars/.complete"
    exec 9>&-
}

# A port nobody listens on. Should another process take it before the broker does, `start` says that the broker ended.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        if [[ $port != "${1:-}" ]] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port found between 20000 and 32000"
}

write_properties() {
    local dir=$1 port=$2 controller=$3
    cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
PROPERTIES
    if [[ -e $dir/extra.properties ]]; then
        # Of two lines for one setting, Java takes the last.
        cat "$dir/extra.properties" >>"$dir/server.properties"
    fi
}

# A killed process that nobody has waited for yet does not run any more.
running() {
    local pid
    [[ -s $1/pid ]] && pid=$(<"$1/pid") && kill -0 "$pid" 2>/dev/null && ! grep -qs '^State:.*zombie' "/proc/$pid/status"
}

java_tool() {
    local heap=$1
    shift
    java "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        -cp "$jars/*" "$@"
}

start() {
    local dir=$1 port=${2:-} controller=${3:-}
    need java openjdk-17-jre-headless
    need setsid util-linux
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    running "$dir" && fail "a broker already runs in $dir with pid $(<"$dir/pid")"
    if [[ ! -e $dir/server.properties || -n $port ]]; then
        port=${port:-$(free_port)}
        controller=${controller:-$(free_port "$port")}
        write_properties "$dir" "$port" "$controller"
    fi
    port=$(sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:\([0-9]*\).*|\1|p' "$dir/server.properties" | tail -n 1)
    if [[ ! -e $dir/data/meta.properties ]]; then
        local id
        id=$(java_tool 128m kafka.tools.StorageTool random-uuid 2>>"$dir/broker.out")
        java_tool 128m kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >>"$dir/broker.out" 2>&1 ||
            fail "cannot format the storage in $dir; see $dir/broker.out"
    fi
    launch "$dir"
    await "$dir" "$port"
    echo "127.0.0.1:$port"
}

# Native libraries are unpacked beside the data, since a killed broker would leave them in the common folder for ever.
# A watcher ties the broker to a process, as the kernel's death signal would follow the thread that forked it.
# shellcheck disable=SC2016  # the inner shells expand their own arguments
launch() {
    local dir=$1
    setsid --fork bash -c 'echo "$$" >"$1/pid"; exec java -Xmx384m -Xms64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Djava.io.tmpdir="$1/data" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$2/*" kafka.Kafka "$1/server.properties"' \
        kafka-broker "$dir" "$jars" >>"$dir/broker.out" 2>&1 </dev/null
    for _ in $(seq 100); do
        running "$dir" && break
        sleep 0.05
    done
    if [[ -n ${KAFKA_PARENT:-} ]]; then
        setsid --fork bash -c 'while kill -0 "$1" && kill -0 "$2"; do sleep 0.2; done
            kill -0 "$1" && exit
            kill -KILL "$2"
            sleep 0.2
            rm -rf "$3/data" "$3/pid" "$3/server.properties" "$3/extra.properties" "$3/broker.out"
            rmdir "$3"' kafka-watcher "$KAFKA_PARENT" "$(<"$dir/pid")" "$dir" >/dev/null 2>&1 </dev/null
    fi
}

await() {
    local dir=$1 port=$2 deadline=$((SECONDS + START_SECONDS))
    while ((SECONDS < deadline)); do
        running "$dir" || fail "the broker ended while starting; see $dir/broker.out"
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            return
        fi
        sleep 0.1
    done
    stop "$dir"
    fail "the broker did not listen on port $port within $START_SECONDS s; see $dir/broker.out"
}

stop() {
    local dir=$1 deadline=$((SECONDS + STOP_SECONDS))
    running "$dir" || return 0
    kill -TERM "$(<"$dir/pid")" 2>/dev/null || return 0
    while ((SECONDS < deadline)); do
        running "$dir" || { rm -f "$dir/pid"; return 0; }
        sleep 0.1
    done
    kill -KILL "$(<"$dir/pid")" 2>/dev/null || true
    rm -f "$dir/pid"
}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

case ${1:-} in
    fetch) fetch ;;
    start) [[ $# -ge 2 && $# -le 4 ]] || usage; start "${@:2}" ;;
    stop) [[ $# -eq 2 ]] || usage; stop "$2" ;;
    *) usage ;;
esac
