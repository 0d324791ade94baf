#!/usr/bin/env bash
# Makes schemathesis ready, which tests a server against its OpenAPI document, and prints where the program is.
#
# Usage: scripts/lib/schemathesis.sh [--no-install] [--print]
#
#   --no-install  name what is missing and fetch nothing
#   --print       print the program when it is ready, exit 1 otherwise; fetch nothing
#
# Fetches the wheels that tests/tests/contract/requirements.txt pins with pip, which checks their SHA-256, into a virtual
# environment in the cache (BALLAST_CACHE, by default ~/.cache/ballast). Nothing is installed into the system's Python.
# May also be sourced, after common.sh: then it offers schemathesis_path and need_schemathesis.
#
# Exit codes: 0 ready; 1 not ready, or fetching failed; 2 bad usage; 3 something is missing and was not to be installed.
# shellcheck shell=bash

readonly SCHEMATHESIS_PINS=tests/tests/contract/requirements.txt
readonly SCHEMATHESIS_DISK_MIB=70

# One for each set of pins and each Python, since the environment holds compiled modules.
schemathesis_folder() {
    local pins python
    pins=$(sha256sum "$BALLAST_ROOT/$SCHEMATHESIS_PINS" | cut -c 1-12)
    python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return
    printf '%s/schemathesis-%s-python%s\n' "$(cache_dir)" "$pins" "$python"
}

# Prints the program; fails when it is not there.
schemathesis_path() {
    local folder
    folder=$(schemathesis_folder) || return
    [[ -e $folder/is-whole ]] && printf '%s\n' "$folder/bin/schemathesis"
}

# Makes schemathesis ready and prints the program.
need_schemathesis() {
    ! schemathesis_path || return 0
    [[ -z $NO_INSTALL ]] || die "$EXIT_MISSING" "missing: schemathesis. To fetch it: scripts/lib/schemathesis.sh"
    need_apt python3:python3
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$EXIT_MISSING" "missing: schemathesis. It needs Python 3.11 or later"
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    say "fetching schemathesis with pip: $SCHEMATHESIS_DISK_MIB MiB in $(schemathesis_folder)"
    with_lock schemathesis fetch_schemathesis
    schemathesis_path
}

# Runs under the lock `schemathesis`, in a subshell of its own.
fetch_schemathesis() {
    ! schemathesis_path >/dev/null || return 0 # another script was faster
    local folder log
    folder=$(schemathesis_folder)
    log=$(mktemp)
    # shellcheck disable=SC2064 # the name is fixed now: the trap runs when the variable is gone
    trap "rm -f '$log'" EXIT
    # An environment cannot be moved: it is made where it stays, and marked when it is whole.
    rm -rf "$folder"
    if ! {
        python3 -m venv --without-pip "$folder" &&
            python3 -m pip --python "$folder/bin/python3" --disable-pip-version-check --no-cache-dir install \
                --require-hashes --only-binary=:all: -r "$BALLAST_ROOT/$SCHEMATHESIS_PINS"
    } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        rm -rf "$folder"
        die 1 "pip could not fetch schemathesis: see its message above"
    fi
    touch "$folder/is-whole"
}

# The rest is for running it, not for sourcing it.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    # shellcheck source-path=SCRIPTDIR source=common.sh
    . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
    for argument in "$@"; do
        case $argument in
            --no-install) NO_INSTALL=1 ;;
            --print) schemathesis_path && exit || exit 1 ;;
            -h | --help) usage && exit ;;
            *) die "$EXIT_USAGE" "unknown argument $argument; scripts/lib/schemathesis.sh --help tells the known ones" ;;
        esac
    done
    need_schemathesis
fi
