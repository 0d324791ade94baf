# cAdvisor without installing it: a Debian package, checked by apt's signatures, unpacked into the cache. Sourced.
#
# Debian dropped cAdvisor after bullseye; its binary runs on newer releases. Knows nothing of who will run it.
# shellcheck shell=bash

readonly CADVISOR_RELEASE=bullseye
readonly DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

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
    reason=$(cadvisor_obstacle)
    if [[ -z $reason ]]; then
        say "fetching cAdvisor: Debian $CADVISOR_RELEASE's package, unpacked into $(cache_dir)/cadvisor, not installed"
        with_lock cadvisor fetch_cadvisor || reason="no Debian mirror among this machine's apt sources could give it"
    fi
    [[ -z $reason ]] || say "no cAdvisor: $reason. The collector will use the env-server's samples instead."
}

# Prints why cAdvisor cannot even be tried for; nothing when it can.
cadvisor_obstacle() {
    if [[ -n $NO_INSTALL ]]; then
        echo "it is not in the cache, and --no-install was given"
    elif ! has apt-get || ! has dpkg; then
        echo "this system has no apt"
    elif [[ ! -e $DEBIAN_KEYRING ]]; then
        echo "the keys to check Debian's packages are missing (package debian-archive-keyring)"
    fi
}

# Runs under the lock `cadvisor`, in a subshell of its own.
fetch_cadvisor() {
    ! cadvisor_path >/dev/null || return 0 # another script was faster
    local work mirror
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the name is fixed now: the trap runs when the variable is gone
    trap "rm -rf '$work'" EXIT
    for mirror in $(debian_mirrors); do
        download_cadvisor "$work" "$mirror" >"$work/log" 2>&1 || continue
        # The move within the cache is what makes it visible: a half unpacked one never is.
        rm -rf "$(cache_dir)/cadvisor" "$(cache_dir)/cadvisor.new"
        dpkg -x "$work"/download/cadvisor_*.deb "$(cache_dir)/cadvisor.new" || return
        "$(cache_dir)/cadvisor.new/usr/bin/cadvisor" --version >/dev/null 2>&1 || return
        mv "$(cache_dir)/cadvisor.new" "$(cache_dir)/cadvisor"
        return
    done
    [[ ! -e $work/log ]] || tail -n 5 "$work/log" >&2
    return 1
}

# The mirrors from which this machine has its own release: they carry the others too.
debian_mirrors() {
    local codename
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # The placeholders are apt's, not the shell's.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$codename" '$1 == release && $2 == "main" && !seen[$3]++ { print $3 }'
}

# download_cadvisor FOLDER MIRROR: the package into FOLDER/download. apt's own state stays untouched.
download_cadvisor() {
    local work=$1 mirror=$2
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/download"
    echo "deb [signed-by=$DEBIAN_KEYRING] $mirror $CADVISOR_RELEASE main" >"$work/sources.list"
    # As root, apt downloads as the user _apt, who has to get in.
    chmod 755 "$work"
    if is_root && id _apt >/dev/null 2>&1; then
        chown _apt "$work/download"
    fi
    local apt=(apt-get -q
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache"
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::http::Timeout=20 -o Acquire::Retries=1)
    # apt-get update only warns about a mirror that fails; the download then finds no package.
    "${apt[@]}" update && (cd "$work/download" && "${apt[@]}" download cadvisor)
}
