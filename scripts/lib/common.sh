# What the scripts share: messages, missing programs, locks, the Rust toolchain. Sourced, never run.
#
# Expects `set -euo pipefail`. Knows how to install things; not what Ballast does with them.
# shellcheck shell=bash

BALLAST_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Exit codes beside 0 and 1, the same in every script.
# shellcheck disable=SC2034 # used by the scripts that source this
readonly EXIT_USAGE=2   # the command line makes no sense
readonly EXIT_MISSING=3 # something is missing and may not or cannot be installed

# Set by --no-install: then what is missing is named, and nothing is changed.
NO_INSTALL=${NO_INSTALL:-}

# Servers that Ballast starts itself, on free ports: their Debian packages would start and enable a service.
readonly SERVICE_PACKAGES=(memcached redis-server docker.io containerd)
readonly SERVICE_POLICY=/usr/sbin/policy-rc.d
readonly SERVICE_POLICY_MARK="Ballast's scripts/setup wrote this for one installation"

# Tools of the administrator are in folders that a plain user's PATH may lack; rustup's in one of the home folder.
PATH=$PATH:/usr/sbin:/sbin:${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin

# Messages go to stderr: stdout belongs to the answer (a path, a program's own output).
say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# die CODE MESSAGE
die() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}

# Prints the comment that the calling script opens with.
usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# The folder for what is fetched once, made when it is not there.
cache_dir() {
    local dir=${BALLAST_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or BALLAST_CACHE}/.cache}/ballast}
    mkdir -p "$dir" || die 1 "the cache folder $dir cannot be made; set BALLAST_CACHE to a folder that can"
    printf '%s\n' "$dir"
}

# with_lock NAME COMMAND...: runs the command while no other script holds the lock of that name.
with_lock() {
    local lock
    lock=$(cache_dir)/$1.lock || return
    shift
    (
        exec 9>"$lock"
        flock --nonblock 9 || { say "waiting for another script that holds $lock"; flock 9; }
        "$@"
    )
}

is_root() {
    [[ $(id -u) == 0 ]]
}

# has PROBE: whether a command, or (with a slash) a file, is there.
has() {
    case $1 in
        */*) [[ -e $1 ]] ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# need_apt PACKAGE:PROBE...: installs the packages whose probe (see `has`) fails. Exits with 3 when it may not.
need_apt() {
    local need missing=()
    for need in "$@"; do
        has "${need#*:}" || missing+=("${need%%:*}")
    done
    [[ ${#missing[@]} == 0 ]] || install_packages "${missing[@]}"
}

# install_packages PACKAGE...: with apt-get, as root only; else says what a person has to type, and exits with 3.
install_packages() {
    has apt-get || die "$EXIT_MISSING" "missing: $* (Debian's names). Install them with this system's package manager."
    local command="apt-get install -y --no-install-recommends $*"
    [[ -z $NO_INSTALL ]] || die "$EXIT_MISSING" "missing: $*. To install them: $command"
    is_root || die "$EXIT_MISSING" "missing: $*. Only root can install them: sudo $command"
    say "installing with apt-get: $*"
    with_lock apt apt_install "$@"
}

apt_install() {
    local log new_services=()
    log=$(mktemp)
    # The name is fixed now: the trap runs when the function's variables are gone.
    # shellcheck disable=SC2064
    trap "rm -f '$log'; remove_service_policy" EXIT
    local package
    for package in "$@"; do
        [[ " ${SERVICE_PACKAGES[*]} " != *" $package "* ]] || new_services+=("${package%.io}")
    done
    [[ ${#new_services[@]} == 0 ]] || write_service_policy
    if ! { apt_get update && apt_get install --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        die 1 "apt-get could not install: $*"
    fi
    local service
    for service in "${new_services[@]}"; do
        keep_off_at_boot "$service"
    done
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# Debian asks this file before a package starts a service. A machine's own policy stays in force; ours concerns the
# services that are being installed and no other, and is gone afterwards.
write_service_policy() {
    remove_service_policy
    [[ ! -e $SERVICE_POLICY ]] || return 0
    local pattern
    pattern=$(printf '*%s*|' "${SERVICE_PACKAGES[@]%.io}")
    printf '#!/bin/sh\n# %s.\ncase "$*" in %s) exit 101 ;; esac\nexit 0\n' \
        "$SERVICE_POLICY_MARK" "${pattern%|}" >"$SERVICE_POLICY"
    chmod 755 "$SERVICE_POLICY"
}

remove_service_policy() {
    if grep -qsF "$SERVICE_POLICY_MARK" "$SERVICE_POLICY"; then
        rm -f "$SERVICE_POLICY"
    fi
}

# Only for a service that was not there before: somebody's own Redis is left as it is.
keep_off_at_boot() {
    say "$1 is here as a program only: its service was not started and is disabled"
    if has systemctl; then
        systemctl disable --quiet "$1" >/dev/null 2>&1 || true
        systemctl disable --quiet "$1.socket" >/dev/null 2>&1 || true
    fi
    if has update-rc.d; then
        update-rc.d "$1" disable >/dev/null 2>&1 || true
    fi
}

# The toolchain of rust-toolchain.toml with cargo, clippy and rustfmt.
need_rust() {
    local wanted
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$BALLAST_ROOT/rust-toolchain.toml")
    ! rust_is_ready "$wanted" || return 0
    if ! has rustup; then
        [[ -z $NO_INSTALL ]] || die "$EXIT_MISSING" "missing: Rust $wanted (rustup)"
        if is_root && has apt-get; then
            apt_get update >/dev/null 2>&1 || true
        fi
        if ! has apt-cache || [[ -z $(apt-cache show rustup 2>/dev/null) ]]; then
            die "$EXIT_MISSING" "missing: Rust $wanted. This system has no package rustup:" \
                "install rustup as www.rust-lang.org/tools/install says, then run this again."
        fi
        install_packages rustup
    fi
    [[ -z $NO_INSTALL ]] || die "$EXIT_MISSING" "missing: the toolchain Rust $wanted. To install it: rustup toolchain install $wanted"
    say "installing the toolchain Rust $wanted with rustup"
    rustup toolchain install "$wanted" --profile minimal --component clippy --component rustfmt >&2 ||
        die 1 "rustup could not install Rust $wanted: see its message above"
}

# rust_is_ready VERSION: whether cargo of that version or a newer one is there, with its two companions.
rust_is_ready() {
    local version
    # rustup must not fetch a toolchain unasked while it is only looked for.
    version=$(cd "$BALLAST_ROOT" && RUSTUP_AUTO_INSTALL=0 cargo --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [[ $(printf '%s\n' "$1" "$version" | sort -V | head -n 1) == "$1" ]] || return 1
    (cd "$BALLAST_ROOT" && cargo fmt --version && cargo clippy --version) >/dev/null 2>&1
}

# The folder that cargo builds into, whatever its configuration and environment say.
target_dir() {
    (cd "$BALLAST_ROOT" && cargo metadata --format-version 1 --no-deps) |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
