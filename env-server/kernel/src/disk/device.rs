//! Which disk: the machine's disks, and the one that holds a container's files.
//!
//! Reads `/proc` and `/sys` at roots given by the caller; must not know what is limited on a disk.

use std::{
    fmt, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    str::FromStr,
};

use ballast_api::with_causes;
use nix::sys::stat::{major, minor};
use serde::{Deserialize, Serialize};

use crate::{
    error::KernelError,
    file,
    mounts::{self, Mount},
};

/// A block device, written `MAJOR:MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceNumber {
    /// The driver's number. 0 stands for file systems that are on no single block device.
    pub major: u32,
    /// The driver's own count.
    pub minor: u32,
}

impl DeviceNumber {
    /// From what stat(2) calls `st_dev` and `st_rdev`.
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        // The kernel's own numbers have 12 and 20 bits.
        Self {
            major: u32::try_from(major(raw)).unwrap_or(u32::MAX),
            minor: u32::try_from(minor(raw)).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A text that is no `MAJOR:MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block device is written MAJOR:MINOR, such as 8:0")]
pub struct InvalidDeviceNumber;

impl FromStr for DeviceNumber {
    type Err = InvalidDeviceNumber;
    fn from_str(text: &str) -> Result<Self, InvalidDeviceNumber> {
        let (major, minor) = text.split_once(':').ok_or(InvalidDeviceNumber)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidDeviceNumber);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl TryFrom<String> for DeviceNumber {
    type Error = InvalidDeviceNumber;
    fn try_from(text: String) -> Result<Self, InvalidDeviceNumber> {
        text.parse()
    }
}

impl From<DeviceNumber> for String {
    fn from(number: DeviceNumber) -> Self {
        number.to_string()
    }
}

/// The longest list of a process' mounts that is read, in bytes: on a machine with a thousand containers the machine's own,
/// which a process outside of them sees, takes half of that. A container may mount as much as it likes.
const LONGEST_MOUNTINFO: u64 = 8 << 20;

/// What is not known.
const UNKNOWN: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name in `/dev`.
    pub name: String,
    /// Its number.
    pub number: DeviceNumber,
}

/// Every disk with something in it, in the order of their names: no partitions, no unused loop devices.
///
/// `sys_block` is normally `/sys/block`.
///
/// # Errors
/// When the folder cannot be listed.
pub fn disks(sys_block: &Path) -> Result<Vec<Disk>, KernelError> {
    let entries = fs::read_dir(sys_block).map_err(file::failed("list", sys_block))?;
    let mut disks: Vec<_> = entries.filter_map(|entry| disk(&entry.ok()?.path())).collect();
    disks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(disks)
}

/// Absent when it has gone meanwhile, or is empty.
fn disk(folder: &Path) -> Option<Disk> {
    let sectors: u64 = file::read_number(&folder.join("size")).ok()?;
    let number = file::read_number(&folder.join("dev")).ok()?;
    let name = folder.file_name()?.to_str()?.to_owned();
    (sectors > 0).then_some(Disk { name, number })
}

/// The disk of which `device` is a partition, or `device` itself.
///
/// `sys_dev_block` is normally `/sys/dev/block`.
///
/// # Errors
/// When there is no such device.
pub fn whole_disk(sys_dev_block: &Path, device: DeviceNumber) -> Result<DeviceNumber, KernelError> {
    let folder = sys_dev_block.join(device.to_string());
    // The folder is a link to one inside the whole disk's.
    let holder = if folder.join("partition").exists() { folder.join("..") } else { folder };
    file::read_number(&holder.join("dev"))
}

/// Where to look for a process' files.
#[derive(Debug, Clone)]
pub struct Roots<'a> {
    /// Normally `/proc`.
    pub proc: &'a Path,
    /// Normally `/sys/dev/block`.
    pub sys_dev_block: &'a Path,
}

/// The disk under the root folder that a process sees: that of an overlay's writable layer, where it is one. A file system
/// that has a number of its own (btrfs) is taken to be on the device that it was mounted from.
///
/// # Errors
/// A sentence why there is none: the process has gone, or has more mounts than anybody needs, or its root is in memory, on
/// the network, or on a pool of disks.
pub fn disk_of_root(roots: &Roots<'_>, pid: u32) -> Result<DeviceNumber, String> {
    let mountinfo = roots.proc.join(pid.to_string()).join("mountinfo");
    let text = file::read_within(&mountinfo, LONGEST_MOUNTINFO).map_err(|error| with_causes(&error))?;
    // The last one mounted there is the one in sight.
    let root = mounts::parse(&text).into_iter().rfind(|mount| mount.point == Path::new("/"));
    let root = root.ok_or_else(|| format!("process {pid} has no root mount"))?;
    let (device, mount) = device_under(root, &roots.proc.join("self/mountinfo"))?;
    let device = if device.major == 0 { mounted_from(&mount)? } else { device };
    whole_disk(roots.sys_dev_block, device).map_err(|error| error.to_string())
}

/// The number of the file system that holds the files of a mount, and how that one is mounted.
fn device_under(mount: Mount, own_mountinfo: &Path) -> Result<(DeviceNumber, Mount), String> {
    // As the runtime gave it: in the mount namespace of the machine, which is ours.
    let upper = mount.super_option("upperdir").filter(|_| mount.kind == "overlay");
    let Some(upper) = upper else { return Ok((mount.device.unwrap_or(UNKNOWN), mount)) };
    let metadata = fs::metadata(&upper).map_err(file::failed("look at", &upper));
    let device = DeviceNumber::from_raw(metadata.map_err(|error| with_causes(&error))?.dev());
    let own = file::read(own_mountinfo).map(|text| mounts::parse(&text)).unwrap_or_default();
    Ok((device, mounts::holding(own, &upper).unwrap_or(mount)))
}

fn mounted_from(Mount { kind, source, .. }: &Mount) -> Result<DeviceNumber, String> {
    let metadata = Path::new(source).is_absolute().then(|| fs::metadata(source));
    match metadata {
        Some(Ok(metadata)) if metadata.file_type().is_block_device() => {
            Ok(DeviceNumber::from_raw(metadata.rdev()))
        }
        _ => Err(format!("its root folder is in a {kind} ({source}), which names no disk of this machine")),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::PathBuf};

    use super::*;

    const VDA: DeviceNumber = DeviceNumber { major: 254, minor: 0 };
    const VDA1: DeviceNumber = DeviceNumber { major: 254, minor: 1 };

    /// A machine with the disk `vda`, its partition `vda1`, and an unused loop device.
    fn machine() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("block/vda/dev", "254:0\n");
        put("block/vda/size", "528482304\n");
        put("block/vda/vda1/dev", "254:1\n");
        put("block/vda/vda1/partition", "1\n");
        put("block/loop0/dev", "7:0\n");
        put("block/loop0/size", "0\n");
        fs::create_dir(folder.path().join("numbers")).unwrap();
        symlink("../block/vda", folder.path().join("numbers/254:0")).unwrap();
        symlink("../block/vda/vda1", folder.path().join("numbers/254:1")).unwrap();
        folder
    }

    fn root_of(mountinfo: &str) -> Result<DeviceNumber, String> {
        root_in(&machine(), mountinfo)
    }

    fn root_in(machine: &tempfile::TempDir, mountinfo: &str) -> Result<DeviceNumber, String> {
        fs::create_dir_all(machine.path().join("proc/7")).unwrap();
        fs::write(machine.path().join("proc/7/mountinfo"), mountinfo).unwrap();
        let (proc, numbers) = (machine.path().join("proc"), machine.path().join("numbers"));
        disk_of_root(&Roots { proc: &proc, sys_dev_block: &numbers }, 7)
    }

    #[test]
    fn a_partition_belongs_to_its_disk() {
        let machine = machine();
        let numbers = machine.path().join("numbers");
        assert_eq!(whole_disk(&numbers, VDA1).unwrap(), VDA);
        assert_eq!(whole_disk(&numbers, VDA).unwrap(), VDA);
        assert!(whole_disk(&numbers, DeviceNumber { major: 8, minor: 0 }).is_err());
        let disks = disks(&machine.path().join("block")).unwrap();
        assert_eq!(disks, [Disk { name: "vda".to_owned(), number: VDA }]);
    }

    #[test]
    fn a_root_on_a_partition_is_on_its_disk() {
        let hidden = "21 1 0:2 / / rw - rootfs rootfs rw\n";
        assert_eq!(root_of(&format!("{hidden}22 21 254:1 / / rw - ext4 /dev/vda1 rw\n")), Ok(VDA));
    }

    #[test]
    fn an_overlay_is_where_its_writable_layer_is() {
        let upper = tempfile::tempdir().unwrap();
        let device = DeviceNumber::from_raw(fs::metadata(upper.path()).unwrap().dev());
        let line = format!(
            "40 1 0:50 / / rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir={},workdir=/w\n",
            upper.path().display()
        );
        let mount = mounts::parse(&line).remove(0);
        let own = upper.path().join("mountinfo");
        fs::write(&own, "22 21 0:42 / / rw - btrfs /dev/sda2 rw\n").unwrap();
        let (found, holder) = device_under(mount, &own).unwrap();
        assert_eq!((found, holder.source.as_str()), (device, "/dev/sda2"));
        let absent = mounts::parse(&line.replace("upperdir=", "upperdir=/absent"));
        assert!(device_under(absent.into_iter().next().unwrap(), &own).unwrap_err().contains("/absent"));
    }

    #[test]
    fn a_file_system_with_a_number_of_its_own_is_where_it_was_mounted_from() {
        let is_block = |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.file_type().is_block_device());
        let mut devices = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().path());
        let Some(source) = devices.find(is_block) else {
            eprintln!("SKIPPED a_file_system_with_a_number_of_its_own: no block device in /dev");
            return;
        };
        let number = DeviceNumber::from_raw(fs::metadata(&source).unwrap().rdev());
        let machine = machine();
        let _ = fs::remove_file(machine.path().join(format!("numbers/{number}")));
        symlink("../block/vda", machine.path().join(format!("numbers/{number}"))).unwrap();
        let line = format!("40 1 0:50 /@ / rw - btrfs {} rw,subvol=/@\n", source.display());
        assert_eq!(root_in(&machine, &line), Ok(VDA));
    }

    #[test]
    fn a_root_without_a_disk_is_told() {
        assert!(root_of("40 1 0:50 / / rw - tmpfs tmpfs rw\n").unwrap_err().contains("tmpfs"));
        let pool = root_of("40 1 0:50 / / rw - zfs rpool/root rw\n").unwrap_err();
        assert!(pool.contains("zfs (rpool/root)"), "{pool}");
        assert!(root_of("40 1 254:1 / /data rw - ext4 /dev/vda1 rw\n").unwrap_err().contains("root"));
    }

    #[test]
    fn mounts_without_end_are_not_read() {
        let root = "40 1 254:1 / / rw - ext4 /dev/vda1 rw\n";
        let mount = "41 40 0:50 / /m rw - tmpfs tmpfs rw\n";
        let most = usize::try_from(LONGEST_MOUNTINFO).unwrap() / mount.len();
        assert_eq!(root_of(&format!("{root}{}", mount.repeat(most - 1))), Ok(VDA));
        let told = root_of(&format!("{root}{}", mount.repeat(most + 1))).unwrap_err();
        assert!(told.contains("mountinfo: it is longer than 8388608 bytes"), "{told}");
    }
}
