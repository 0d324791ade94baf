# The kernel of a virtual machine for tests: Debian's, unpacked into the cache, never installed. Sourced.
#
# One whose cgroups are all v2, and that has what this machine's may lack (netem). Knows nothing of who will boot it.
# Expects debian.sh.
# shellcheck shell=bash

readonly GUEST_RELEASE=bookworm
readonly GUEST_PACKAGE=linux-image-cloud-amd64

# PACKAGE:PROBE, see need_apt: what runs it, what is its user space, what makes its disk.
readonly GUEST_NEEDS=(
    busybox-static:/usr/share/doc/busybox-static
    e2fsprogs:mke2fs
    qemu-system-x86:qemu-system-x86_64
)

# Prints the folder with boot/vmlinuz-VERSION and lib/modules/VERSION; fails when it is not there.
guest_kernel_path() {
    local folder
    folder=$(cache_dir)/guest-kernel-$GUEST_RELEASE
    [[ -d $folder ]] && printf '%s\n' "$folder"
}

# Makes the guest's kernel ready, and what is needed to run it. Exits with 3 where it cannot be had.
need_guest() {
    [[ $(uname -sm) == "Linux x86_64" ]] || die "$EXIT_MISSING" "the guest for tests is for x86_64 only"
    need_apt "${GUEST_NEEDS[@]}"
    ! guest_kernel_path >/dev/null || return 0
    local reason
    reason=$(debian_obstacle)
    if [[ -z $reason ]]; then
        say "fetching the guest's kernel: Debian $GUEST_RELEASE's $GUEST_PACKAGE, unpacked into $(cache_dir), not installed"
        with_lock guest fetch_guest_kernel || reason="no Debian mirror among this machine's apt sources could give it"
    fi
    [[ -z $reason ]] || die "$EXIT_MISSING" "no kernel for the guest: $reason"
}

# Runs under the lock `guest`, in a subshell of its own.
fetch_guest_kernel() {
    ! guest_kernel_path >/dev/null || return 0 # another script was faster
    fetch_debian "$GUEST_RELEASE" "$GUEST_PACKAGE" "$(cache_dir)/guest-kernel-$GUEST_RELEASE" list_modules
}

# list_modules FOLDER: what modprobe reads, which a package makes when it is installed.
list_modules() {
    local modules
    modules=$(echo "$1"/lib/modules/*)
    [[ -d $modules ]] && busybox depmod -b "$1" "${modules##*/}" && [[ -s $modules/modules.dep ]]
}
