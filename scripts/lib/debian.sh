# Debian packages of another release than this machine's: checked by apt's signatures, unpacked, not installed. Sourced.
#
# Knows how to get one; not what is in it.
# shellcheck shell=bash

readonly DEBIAN_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints why nothing can even be tried for; nothing when it can.
debian_obstacle() {
    if [[ -n $NO_INSTALL ]]; then
        echo "it is not in the cache, and --no-install was given"
    elif ! has apt-get || ! has dpkg; then
        echo "this system has no apt"
    elif [[ ! -e $DEBIAN_KEYRING ]]; then
        echo "the keys to check Debian's packages are missing (package debian-archive-keyring)"
    fi
}

# fetch_debian RELEASE PACKAGE FOLDER CHECK...: unpacks the package into FOLDER, if the command CHECK agrees with what it
# finds in the folder that it is given. Runs in a subshell of its own.
fetch_debian() {
    local release=$1 package=$2 folder=$3 work mirror
    shift 3
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the name is fixed now: the trap runs when the variable is gone
    trap "rm -rf '$work'" EXIT
    for mirror in $(debian_mirrors); do
        download_debian "$work" "$mirror" "$release" "$package" >"$work/log" 2>&1 || continue
        # The move within the cache is what makes it visible: a half unpacked one never is.
        rm -rf "$folder" "$folder.new"
        dpkg -x "$work"/download/*.deb "$folder.new" || return
        "$@" "$folder.new" || return
        mv "$folder.new" "$folder"
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

# download_debian FOLDER MIRROR RELEASE PACKAGE: the package into FOLDER/download; of a package that only names another
# (linux-image-...), that one. apt's own state stays untouched.
download_debian() {
    local work=$1 mirror=$2 release=$3 package=$4
    rm -rf "$work/download"
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/download"
    echo "deb [signed-by=$DEBIAN_KEYRING] $mirror $release main" >"$work/sources.list"
    # As root, apt downloads as the user _apt, who has to get in.
    chmod 755 "$work"
    if is_root && id _apt >/dev/null 2>&1; then
        chown _apt "$work/download"
    fi
    local options=(
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache"
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::http::Timeout=20 -o Acquire::Retries=1)
    # apt-get update only warns about a mirror that fails; the download then finds no package.
    apt-get -q "${options[@]}" update || return
    if [[ $package == linux-image-* ]]; then
        package=$(apt-cache "${options[@]}" depends "$package" | awk '/Depends: linux-image-/ { print $2; exit }')
    fi
    [[ -n $package ]] && (cd "$work/download" && apt-get -q "${options[@]}" download "$package")
}
