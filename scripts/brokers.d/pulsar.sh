# One Apache Pulsar, standalone: broker, bookie and metadata in one process. Sourced by scripts/brokers.
# With PULSAR_SECURE=1 at `up` it takes TLS alone and wants a token: `env` then names both (PULSAR_CA, PULSAR_TOKEN), and PULSAR_SECRET,
# with which other tokens can be signed.
# shellcheck shell=bash disable=SC2154 # root: common.sh; maven_plugin: scripts/brokers

pulsar_version=4.0.8

pulsar_home() { printf '%s/pulsar/%s\n' "$(cache_dir)" "$pulsar_version"; }

pulsar_given() { printf '%s\n' "${PULSAR_URL:-}"; }

pulsar_probe() { python3 "$root/scripts/lib/pulsar_probe.py" --broker "$1" --within 5; }

pulsar_install() { fetch_once "$(pulsar_home)" pulsar_download; }

# Fetches into a folder beside and renames it when all is there, so that an interrupted download is never used.
pulsar_download() {
    local home=$1 partial
    partial=$(mktemp -d "$home.partial.XXXXXX")
    say "fetching Pulsar $pulsar_version, 245 MB (once)"
    if ! mvn -q -B "$maven_plugin:copy" -Dmdep.useBaseVersion=true -DoutputDirectory="$partial" \
        "-Dartifact=org.apache.pulsar:pulsar-server-distribution:$pulsar_version:tar.gz:bin" \
        >"$partial/log" 2>&1 </dev/null; then
        cat "$partial/log" >&2
        rm -rf "$partial"
        die "Maven could not fetch Pulsar $pulsar_version"
    fi
    mkdir "$partial/home"
    tar -xzf "$partial"/pulsar-server-distribution-*.tar.gz -C "$partial/home" --strip-components=1 --no-same-owner
    mv "$partial/home" "$home"
    rm -rf "$partial"
}

pulsar_prepare() {
    local dir=$1
    local -a ports
    mapfile -t ports < <(python3 "$root/scripts/lib/free_ports.py" 3)
    ((${#ports[@]} == 3)) || die "no free ports for pulsar"
    pulsar_settings "${ports[0]}" "${ports[1]}" >"$dir/settings"
    if [[ -n ${PULSAR_SECURE:-} ]]; then
        pulsar_keys "$dir/keys"
        pulsar_secure_settings "$dir/keys" "${ports[2]}" >>"$dir/settings"
    fi
    # No key is to be there twice: several parts of Pulsar read the file, each with a reader of its own.
    awk -F= 'NR == FNR { ours[$1]; print; next } !($1 in ours)' "$dir/settings" "$(pulsar_home)/conf/standalone.conf" \
        >"$dir/standalone.conf"
    if [[ -d $dir/keys ]]; then
        printf 'pulsar+ssl://127.0.0.1:%s\n' "${ports[2]}" >"$dir/address"
    else
        printf 'pulsar://127.0.0.1:%s\n' "${ports[0]}" >"$dir/address"
    fi
    printf 'http://127.0.0.1:%s\n' "${ports[1]}" >"$dir/admin"
}

# There is just one bookie. To put it into quarantine after a freeze would be to have none, and so would be that it stops taking
# anything where a disk is 99 % full: on a large one that is with gigabytes left, and for as long as somebody else needs them.
pulsar_settings() {
    local port=$1 web=$2
    cat <<SETTINGS
brokerServicePort=$port
webServicePort=$web
bindAddress=127.0.0.1
advertisedAddress=127.0.0.1
listeningInterface=lo
managedLedgerCacheSizeMB=16
dbStorage_writeCacheMaxSizeMb=16
dbStorage_readAheadCacheMaxSizeMb=16
dbStorage_rocksDB_blockCacheSize=8388608
webSocketServiceEnabled=false
numIOThreads=2
numHttpServerThreads=8
transactionCoordinatorEnabled=true
brokerShutdownTimeoutMs=5000
brokerDeleteInactiveTopicsEnabled=false
forceDeleteNamespaceAllowed=true
forceDeleteTenantAllowed=true
bookkeeperClientHealthCheckEnabled=false
diskUsageThreshold=0.9999
diskUsageWarnThreshold=0.9999
defaultRetentionTimeInMinutes=-1
defaultRetentionSizeInMB=-1
SETTINGS
}

# Who vouches, what the broker shows, what tokens are signed with, and the token of who may do everything.
pulsar_keys() {
    local keys=$1
    command -v openssl >/dev/null || die "PULSAR_SECURE needs openssl"
    mkdir "$keys"
    (
        cd "$keys"
        openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=meshgate-tests -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout broker.key -out broker.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\n' >broker.ext
        openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile broker.ext -out broker.pem
        openssl rand -out secret 32
    ) >"$keys/log" 2>&1 || die "openssl makes no keys, see $keys/log"
    python3 "$root/scripts/lib/jwt.py" "$keys/secret" meshgate >"$keys/token"
}

pulsar_secure_settings() {
    local keys=$1 port=$2
    cat <<SETTINGS
brokerServicePortTls=$port
tlsCertificateFilePath=$keys/broker.pem
tlsKeyFilePath=$keys/broker.key
tlsTrustCertsFilePath=$keys/ca.pem
authenticationEnabled=true
authenticationProviders=org.apache.pulsar.broker.authentication.AuthenticationProviderToken
tokenSecretKey=file://$keys/secret
authorizationEnabled=true
superUserRoles=meshgate
brokerClientAuthenticationPlugin=org.apache.pulsar.client.impl.auth.AuthenticationToken
brokerClientAuthenticationParameters=token:$(cat "$keys/token")
SETTINGS
}

pulsar_exec() {
    local dir=$1
    export PULSAR_MEM="-Xms64m -Xmx256m -XX:MaxDirectMemorySize=256m" PULSAR_GC="-XX:+UseSerialGC -XX:-UsePerfData"
    export PULSAR_GC_LOG="-Xlog:disable -Xlog:all=warning" PULSAR_LOG_DIR=$dir/logs PULSAR_LOG_APPENDER=Console
    export PULSAR_STANDALONE_CONF=$dir/standalone.conf
    exec "$(pulsar_home)/bin/pulsar" standalone -nfw -nss -a 127.0.0.1 --bookkeeper-dir "$dir/bookkeeper" \
        --metadata-dir "$dir/metadata"
}

pulsar_address() { cat "$1/address"; }

pulsar_ready() {
    local -a who=()
    [[ ! -d $1/keys ]] || who=(--token "$1/keys/token")
    python3 "$root/scripts/lib/pulsar_probe.py" --broker "$(pulsar_address "$1")" --admin "$(cat "$1/admin")" "${who[@]}" --within 1
}

# After a kill, parts of Pulsar may dispute its bookie's registration for as long as it runs, thousands of times a second, and half of
# all new topics fail ("not enough non-faulty bookies"). One that was stopped in order begins without an old registration.
pulsar_sound() {
    local dir=$1 from changes
    from=$(stat -c %s "$dir/log")
    sleep 1
    changes=$(tail -c "+$from" "$dir/log" | grep -c /ledgers/available/) || true
    ((changes < 50))
}

# Of a broker that is given, whoever gives it says where its admin API is.
pulsar_env() {
    printf 'export PULSAR_URL=%q\n' "$1"
    [[ -n ${2:-} ]] || return 0
    printf 'export PULSAR_ADMIN_URL=%q\n' "$(cat "$2/admin")"
    [[ ! -d $2/keys ]] || printf 'export PULSAR_CA=%q PULSAR_TOKEN=%q PULSAR_SECRET=%q\n' \
        "$2/keys/ca.pem" "$(cat "$2/keys/token")" "$2/keys/secret"
}
