# One Apache Kafka node (KRaft, broker and controller in one process). Sourced by scripts/brokers.
# shellcheck shell=bash disable=SC2154 # root: common.sh; maven_plugin: scripts/brokers

kafka_version=4.4.0
kafka_log_options=(
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn
    -Dorg.slf4j.simpleLogger.showDateTime=true
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS"
)

kafka_jars() { printf '%s/kafka/%s\n' "$(cache_dir)" "$kafka_version"; }

kafka_given() { printf '%s\n' "${KAFKA_BOOTSTRAP:-}"; }

kafka_probe() { python3 "$root/scripts/lib/kafka_probe.py" "$1" --connect-only --within 5; }

kafka_install() { fetch_once "$(kafka_jars)" kafka_download; }

# Fetches into a folder beside and renames it when all is there, so that an interrupted download is never used.
kafka_download() {
    local jars=$1 partial
    partial=$(mktemp -d "$jars.partial.XXXXXX")
    cp "$root/scripts/brokers.d/kafka.pom.xml" "$partial/pom.xml"
    say "fetching Kafka $kafka_version (once)"
    if ! mvn -q -B -f "$partial/pom.xml" "$maven_plugin:copy-dependencies" "-Dkafka.version=$kafka_version" \
        "-DoutputDirectory=$partial/jars" -DincludeScope=runtime >"$partial/log" 2>&1 </dev/null; then
        cat "$partial/log" >&2
        rm -rf "$partial"
        die "Maven could not fetch Kafka $kafka_version"
    fi
    mv "$partial/jars" "$jars"
    rm -rf "$partial"
}

kafka_prepare() {
    local dir=$1 cluster
    local -a ports
    mapfile -t ports < <(python3 "$root/scripts/lib/free_ports.py" 2)
    ((${#ports[@]} == 2)) || die "no free ports for kafka"
    kafka_properties "$dir" "${ports[0]}" "${ports[1]}" >"$dir/server.properties"
    printf '127.0.0.1:%s\n' "${ports[0]}" >"$dir/address"
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'Ab' | tr -d '=')
    java -Xmx128m "${kafka_log_options[@]}" -cp "$(kafka_jars)/*" kafka.tools.StorageTool format \
        -t "$cluster" -c "$dir/server.properties" --standalone >>"$dir/log" 2>&1 ||
        die "kafka could not format its storage, see $dir/log"
}

kafka_properties() {
    local dir=$1 port=$2 controller=$3
    cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$dir/data

# The gateway must work where topics are made by hand, and notice a missing one.
auto.create.topics.enable=false
# Above the gateway's own limits, so that a test can put an event on either side of a topic's limit.
message.max.bytes=10485760
replica.fetch.max.bytes=10485760

# One node: no copies, few internal partitions to make and to load.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216

# After a kill the node serves again only when its old session has ended.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# Tests do not wait: groups form at once, retention and compaction act within a second or so. Age deletes nothing by itself: tests
# write records of other times.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.initial.task.delay.ms=1000
log.retention.check.interval.ms=1000
log.retention.ms=-1
log.cleaner.backoff.ms=1000
PROPERTIES
}

kafka_exec() {
    exec java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:-UsePerfData "${kafka_log_options[@]}" \
        -cp "$(kafka_jars)/*" kafka.Kafka "$1/server.properties"
}

kafka_address() { cat "$1/address"; }

kafka_ready() { python3 "$root/scripts/lib/kafka_probe.py" "$(kafka_address "$1")" --within 1; }

kafka_env() { printf 'export KAFKA_BOOTSTRAP=%q\n' "$1"; }

kafka_topic() {
    local address dir
    if ! address=$(foreign_address kafka); then
        dir=$(broker_dir kafka) || die "kafka is not up (scripts/brokers up kafka)"
        address=$(kafka_address "$dir")
    fi
    KAFKA_BOOTSTRAP=$address "$root/scripts/python" "$root/scripts/lib/kafka_topics.py" "$@"
}
