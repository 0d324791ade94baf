# cAdvisor without installing it: a Debian package, checked by apt's signatures, unpacked into the cache. Sourced.
#
# Debian dropped cAdvisor after bullseye; its binary runs on newer releases. Knows nothing of who will run it. Expects
# debian.sh.
# shellcheck shell=bash

readonly CADVISOR_RELEASE=bullseye

# Prints where cAdvisor is; fails when it is not there.
cadvisor_path() {
    local program
    program=$(cache_dir)/cadvisor/usr/bin/cadvisor
    [[ -x $program ]] && printf '%s\n' "$program"
}

# Makes cAdvisor ready where that can be done, and says so where not: the collector has another source then.
want_cadvisor() {
    ! cadvisor_path >/dev/null || return 0
    local reason
    reason=$(debian_obstacle)
    if [[ -z $reason ]]; then
        say "fetching cAdvisor: Debian $CADVISOR_RELEASE's package, unpacked into $(cache_dir)/cadvisor, not installed"
        with_lock cadvisor fetch_cadvisor || reason="no Debian mirror among this machine's apt sources could give it"
    fi
    [[ -z $reason ]] || say "no cAdvisor: $reason. The collector will use the env-server's samples instead."
}

# Runs under the lock `cadvisor`, in a subshell of its own.
fetch_cadvisor() {
    ! cadvisor_path >/dev/null || return 0 # another script was faster
    fetch_debian "$CADVISOR_RELEASE" cadvisor "$(cache_dir)/cadvisor" cadvisor_runs
}

# cadvisor_runs FOLDER
cadvisor_runs() {
    "$1/usr/bin/cadvisor" --version >/dev/null 2>&1
}
