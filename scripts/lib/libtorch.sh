#!/usr/bin/env bash
# Makes libtorch ready for the learner `tch`, and prints its folder: `export LIBTORCH=$(scripts/lib/libtorch.sh)`.
#
# Usage: scripts/lib/libtorch.sh [--no-install] [--print]
#
#   --no-install  name what is missing and fetch nothing
#   --print       print the folder when it is ready, exit 1 otherwise; fetch nothing
#
# Fetches three wheels of the Python package index with pip, checks their SHA-256, and keeps of them what a program
# needs to build and run on the CPU. Nothing is installed into the system's Python. The folder is in the cache
# (BALLAST_CACHE, by default ~/.cache/ballast). Programs find it through LD_LIBRARY_PATH=$LIBTORCH/lib.
# May also be sourced, after common.sh: then it offers libtorch_path and need_libtorch.
#
# Exit codes: 0 ready; 1 not ready, or fetching failed; 2 bad usage; 3 something is missing and was not to be installed.
# shellcheck shell=bash

readonly LIBTORCH_VERSION=2.13.0
readonly LIBTORCH_WHEELS="
torch==$LIBTORCH_VERSION --hash=sha256:60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7
nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548
nvidia-cuda-cupti==13.0.85 --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8
"
readonly LIBTORCH_DOWNLOAD_MIB=515
readonly LIBTORCH_DISK_MIB=490

# One wheel for every machine, whatever its Python: the hashes are of these.
readonly LIBTORCH_PIP=(
    --disable-pip-version-check --no-cache-dir --no-deps --require-hashes --only-binary=:all:
    --implementation cp --python-version 3.11 --abi cp311
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
)

libtorch_folder() {
    printf '%s/libtorch-%s\n' "$(cache_dir)" "$LIBTORCH_VERSION"
}

# Prints where libtorch is; fails when it is not there.
libtorch_path() {
    local folder
    folder=$(libtorch_folder)
    [[ -e $folder/build-version ]] && printf '%s\n' "$folder"
}

# Makes libtorch ready and prints its folder.
need_libtorch() {
    ! libtorch_path || return 0
    [[ $(uname -sm) == "Linux x86_64" ]] ||
        die "$EXIT_MISSING" "missing: libtorch. It can be fetched for Linux on x86_64 only: set LIBTORCH yourself."
    [[ -z $NO_INSTALL ]] || die "$EXIT_MISSING" "missing: libtorch $LIBTORCH_VERSION. To fetch it: scripts/lib/libtorch.sh"
    # tch compiles C++ against it.
    need_apt g++:g++
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    say "fetching libtorch $LIBTORCH_VERSION: $LIBTORCH_DOWNLOAD_MIB MiB to download, $LIBTORCH_DISK_MIB MiB in $(libtorch_folder)"
    with_lock libtorch fetch_libtorch
    libtorch_path
}

# Runs under the lock `libtorch`, in a subshell of its own.
fetch_libtorch() {
    ! libtorch_path >/dev/null || return 0 # another script was faster
    local work
    work=$(mktemp -d "$(libtorch_folder).new.XXXXXX")
    # shellcheck disable=SC2064 # the name is fixed now: the trap runs when the variable is gone
    trap "rm -rf '$work'" EXIT
    printf '%s' "$LIBTORCH_WHEELS" >"$work/requirements"
    python3 -m pip download "${LIBTORCH_PIP[@]}" -r "$work/requirements" -d "$work/wheels" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die 1 "pip could not fetch libtorch: see its message above"
    }
    unpack_libtorch "$work/wheels" "$work/libtorch" || die 1 "the wheels of libtorch are not as expected"
    # The move is what makes it visible: a half unpacked one never is.
    rm -rf "$(libtorch_folder)"
    mv "$work/libtorch" "$(libtorch_folder)"
}

# unpack_libtorch WHEELS FOLDER: what tch's build looks for, less the CUDA kernels, which are two thirds of it.
unpack_libtorch() {
    python3 - "$1" "$2" "$LIBTORCH_VERSION" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheels, folder, version = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]

def unpack(wheel, names):
    """Copies members, each {prefix in the wheel: folder here}; a prefix that matches nothing is an error."""
    with zipfile.ZipFile(next(wheels.glob(wheel))) as archive:
        for prefix, target in names.items():
            found = [name for name in archive.namelist() if name.startswith(prefix) and not name.endswith("/")]
            if not found:
                sys.exit(f"{wheel} holds no {prefix}")
            for name in found:
                relative = name[len(prefix):] if prefix.endswith("/") else prefix.rsplit("/", 1)[1]
                path = folder / target / relative
                if ".." in path.parts:
                    sys.exit(f"{wheel} holds {name}")
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, open(path, "wb") as copy:
                    shutil.copyfileobj(source, copy)

libraries = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1"]
unpack("torch-*.whl", {f"torch/lib/{library}": "lib" for library in libraries} | {"torch/include/": "include"})
unpack("nvidia_cuda_runtime-*.whl", {"nvidia/cu13/lib/libcudart.so.13": "lib"})
unpack("nvidia_cuda_cupti-*.whl", {"nvidia/cu13/lib/libcupti.so.13": "lib"})
# The real libtorch.so also asks for the CUDA kernels; this text makes the linker take the two that are here.
(folder / "lib/libtorch.so").write_text("INPUT(libtorch_cpu.so libc10.so)\n")
# Last: its presence says that the folder is whole.
(folder / "build-version").write_text(version + "\n")
PYTHON
}

# The rest is for running it, not for sourcing it.
if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    # shellcheck source-path=SCRIPTDIR source=common.sh
    . "$(dirname "${BASH_SOURCE[0]}")/common.sh"
    for argument in "$@"; do
        case $argument in
            --no-install) NO_INSTALL=1 ;;
            --print) libtorch_path && exit || exit 1 ;;
            -h | --help) usage && exit ;;
            *) die "$EXIT_USAGE" "unknown argument $argument; scripts/lib/libtorch.sh --help tells the known ones" ;;
        esac
    done
    need_libtorch
fi
