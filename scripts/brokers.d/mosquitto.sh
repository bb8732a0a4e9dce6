# One Eclipse Mosquitto, an MQTT broker (3.1.1 and 5.0). Sourced by scripts/brokers.
#
# It writes its store at every change, so that what it has acknowledged outlives a kill. MOSQUITTO_SAVE=second at `up` has it write once a
# second: that is some thirty times faster, and a kill loses what was acknowledged since.
# shellcheck shell=bash disable=SC2154 # root: common.sh

mosquitto_given() { printf '%s\n' "${MQTT_ADDRESS:-}"; }

mosquitto_probe() { python3 "$root/scripts/lib/mqtt_probe.py" "$1" --connect-only --within 5; }

mosquitto_program() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mosquitto; }

mosquitto_install() {
    if mosquitto_program >/dev/null && command -v python3 >/dev/null; then
        return
    fi
    need mqtt
}

mosquitto_prepare() {
    local dir=$1 port
    port=$(python3 "$root/scripts/lib/free_ports.py" 1) || die "no free port for mosquitto"
    mkdir "$dir/data"
    mosquitto_settings "$dir" "$port" >"$dir/mosquitto.conf"
    printf '127.0.0.1:%s\n' "$port" >"$dir/address"
}

mosquitto_settings() {
    local dir=$1 port=$2 every_change=true
    case ${MOSQUITTO_SAVE:-change} in
        change) ;;
        second) every_change=false ;;
        *) die "MOSQUITTO_SAVE=$MOSQUITTO_SAVE: use change or second" ;;
    esac
    # Started by root it would become another user, to whom the folder is closed.
    [[ $(id -u) -ne 0 ]] || printf 'user root\n'
    cat <<SETTINGS
listener $port 127.0.0.1
allow_anonymous true
persistence true
persistence_location $dir/data/
autosave_on_changes $every_change
autosave_interval 1
# More than a publisher of the tests has under way.
max_inflight_messages 1000
max_queued_messages 100000
# One line for each client and each of its packets is more than a log is read for.
log_type error
log_type warning
log_type notice
SETTINGS
}

mosquitto_exec() { exec "$(mosquitto_program)" -c "$1/mosquitto.conf"; }

mosquitto_address() { cat "$1/address"; }

mosquitto_ready() { python3 "$root/scripts/lib/mqtt_probe.py" "$(mosquitto_address "$1")" --within 1; }

mosquitto_env() { printf 'export MQTT_ADDRESS=%q\n' "$1"; }
