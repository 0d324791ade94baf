//! What the guest boots from: a first file system with the drivers of its disk, and the disk with everything else.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ballast_tests::program;

use crate::{
    machine::Kernel,
    suites::Suite,
    verdict::{BEGIN, END, OVER},
};

/// The first one's drivers, and what they need, have it found the disk.
pub(crate) const FIRST: &str = "first.cpio";
pub(crate) const DISK: &str = "disk.img";
const DISK_MIB: u64 = 2048;

/// What the suites and the kernel (modprobe) call, of busybox.
const COMMANDS: [&str; 19] = [
    "cat",
    "dd",
    "insmod",
    "ls",
    "mkdir",
    "modprobe",
    "mount",
    "nsenter",
    "poweroff",
    "sh",
    "sleep",
    "stty",
    "switch_root",
    "sync",
    "true",
    "umount",
    "uname",
    "unshare",
    "yes",
];

/// Of this machine, with their libraries: busybox's are too small.
const PROGRAMS: [&str; 2] = ["ip", "tc"];

const FIRST_INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t devtmpfs dev /dev
modprobe -a virtio_pci virtio_blk
for _ in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] && break; sleep 0.2; done
mount -t ext4 /dev/vda /disk && exec switch_root /disk /init
";

/// Results go to the second serial port, what the kernel and the programs say to the first.
const INIT: &str = "#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# As systemd does; what Ballast needs, it enables itself.
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mount -t tmpfs run /run
exec </dev/null >/dev/ttyS1 2>/dev/ttyS0
stty -opost </dev/ttyS1
echo guest >/proc/sys/kernel/hostname
ip link set dev lo up
";

/// Writes [`FIRST`] and [`DISK`] into `folder`.
pub(crate) fn make(folder: &Path, kernel: &Kernel, suites: &[Suite]) {
    let (first, root) = (folder.join("first"), folder.join("root"));
    user_space(&first, FIRST_INIT, &["disk"]);
    let modules = kernel.modules.strip_prefix(&kernel.folder).unwrap();
    copy_tree(&kernel.modules, &first.join(modules), &|path| is_driver_of_disk(path));
    archive(&first, &folder.join(FIRST));
    let suites_run: String = suites.iter().map(run).collect();
    let init = format!("{INIT}{suites_run}echo {OVER}\nsync\npoweroff -f\n");
    user_space(&root, &init, &["sys", "run", "tmp", "var/tmp"]);
    copy_tree(&kernel.modules, &root.join(modules), &|_| true);
    let tools = PROGRAMS.iter().map(|name| which(name).unwrap());
    let tests = suites.iter().map(|suite| suite.program.clone());
    for program in tools.chain(tests).chain(["ballast-env-server", "ballast-injector"].map(program)) {
        with_libraries(&program, &root);
    }
    format(&root, &folder.join(DISK));
}

fn run(Suite { name, program, arguments }: &Suite) -> String {
    let program = program.display();
    format!("echo '{BEGIN}{name}'\ncd /tmp\n{program} {arguments}\necho \"{END}{name} $?\"\n")
}

/// A folder with busybox, an `/init`, and empty folders.
fn user_space(root: &Path, init: &str, folders: &[&str]) {
    for folder in ["bin", "sbin", "proc", "dev"].iter().chain(folders) {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for command in COMMANDS {
        symlink("busybox", root.join("bin").join(command)).unwrap();
    }
    // Where the kernel looks for it.
    symlink("../bin/busybox", root.join("sbin/modprobe")).unwrap();
    fs::write(root.join("init"), init).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A list of modules is needed by whoever loads one.
fn is_driver_of_disk(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.is_dir() || name.starts_with("virtio") || name.starts_with("modules.")
}

fn copy_tree(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_tree(&path, &copy, wanted),
            kind if kind.is_file() && wanted(&path) => drop(fs::copy(&path, &copy).unwrap()),
            _ => {}
        }
    }
}

/// Puts a program and what its loader would load at the same paths under `root`.
fn with_libraries(program: &Path, root: &Path) {
    let loaded = Command::new("ldd").arg(program).output().unwrap().stdout;
    let loaded = String::from_utf8(loaded).unwrap();
    let libraries = loaded.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let all: BTreeSet<_> = libraries.chain([program.to_owned()]).collect();
    for file in all {
        let copy = root.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&file, &copy).unwrap();
    }
}

/// Where a program of this machine is.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// The format in which the kernel unpacks its first file system.
fn archive(root: &Path, file: &Path) {
    let pack = "find . | busybox cpio -o -H newc 2>/dev/null";
    let file = File::create(file).unwrap();
    let status = Command::new("sh").args(["-ec", pack]).current_dir(root).stdout(file).status().unwrap();
    assert!(status.success(), "{status}");
}

fn format(root: &Path, disk: &Path) {
    File::create(disk).unwrap().set_len(DISK_MIB << 20).unwrap();
    let mut command = Command::new(which("mke2fs").unwrap());
    command.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", "-d"]).args([root, disk]);
    let output = command.stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
