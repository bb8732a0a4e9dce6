# Sourced by the scripts beside this folder: names of folders, messages, and the packages of the system.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export root

# What was fetched once is kept outside the checkout, so that a fresh clone does not fetch it again.
cache_dir() {
    local cache=${XDG_CACHE_HOME:-${HOME:?HOME or XDG_CACHE_HOME must be set}/.cache}/meshgate
    mkdir -p "$cache"
    printf '%s\n' "$cache"
}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "${0##*/}: $*"
    exit 1
}

# missing_packages USE…: the packages of scripts/packages.txt for these uses that are not there.
missing_packages() {
    local wanted=" $* " use package check
    while read -r use package check; do
        [[ $wanted == *" $use "* ]] || continue
        # A subshell of its own: a check may be a pipe, and must not read the list.
        bash -c "$check" >/dev/null 2>&1 </dev/null || printf '%s\n' "$package"
    done <"$root/scripts/packages.txt"
}

# need USE…: installs the missing packages where that is allowed, else names them.
need() {
    local missing
    missing=$(missing_packages "$@" | tr '\n' ' ')
    missing=${missing% }
    [[ -n $missing ]] || return 0
    install_packages "$missing"
    missing=$(missing_packages "$@" | tr '\n' ' ')
    [[ -z $missing ]] || die "still missing after installing: ${missing% }"
}

install_packages() {
    local -a packages
    read -ra packages <<<"$1"
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "these packages are missing (Debian's names): $1"
    fi
    say "installing: $1"
    local log
    log=$(mktemp)
    if ! { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $1"
    fi
    rm -f "$log"
}

need_cargo() {
    command -v cargo >/dev/null || die "cargo is missing: install Rust with rustup; rust-toolchain.toml names the version"
}
