//! The mounts that a process sees, as the kernel lists them (proc_pid_mountinfo(5)).
//!
//! Pure; must not know what is looked for.

use std::path::{Path, PathBuf};

use crate::disk::DeviceNumber;

/// One mount. A line is `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// What is mounted is on this device; absent when the number is odd.
    pub(crate) device: Option<DeviceNumber>,
    /// Which folder of the file system shows here; `/` for all of it.
    pub(crate) root: String,
    /// Where it shows.
    pub(crate) point: PathBuf,
    /// The file system's type.
    pub(crate) kind: String,
    /// What is mounted, in words of the file system: a path in `/dev`, or a name.
    pub(crate) source: String,
    super_options: String,
}

impl Mount {
    /// The options of the whole file system, in their order.
    pub(crate) fn super_options(&self) -> impl Iterator<Item = &str> {
        self.super_options.split(',')
    }

    /// The value of the option `key=value`.
    pub(crate) fn super_option(&self, key: &str) -> Option<PathBuf> {
        let value = self.super_options().find_map(|option| option.strip_prefix(key)?.strip_prefix('='));
        value.map(|value| unescape(value).into())
    }
}

/// Every mount, in the order in which they were made. Odd lines are left out.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

/// The mount that a path is in: the innermost, and of those at one point the last, which hides the others.
pub(crate) fn holding(mounts: Vec<Mount>, path: &Path) -> Option<Mount> {
    let holding = mounts.into_iter().filter(|mount| path.starts_with(&mount.point));
    holding.max_by_key(|mount| mount.point.components().count())
}

fn parse_line(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (device, root, point) = (mount.next()?, mount.next()?, mount.next()?);
    let mut filesystem = filesystem.split(' ');
    let (kind, source, super_options) = (filesystem.next()?, filesystem.next()?, filesystem.next()?);
    Some(Mount {
        device: device.parse().ok(),
        root: root.to_owned(),
        point: unescape(point).into(),
        kind: kind.to_owned(),
        source: unescape(source),
        super_options: super_options.to_owned(),
    })
}

/// Undoes the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", "\\")]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let text = "36 35 98:0 /mnt1 /with\\040space rw,noatime master:1 - overlay o rw,lowerdir=/a:/b,upperdir=/u\nodd\n";
        let [mount] = parse(text).try_into().unwrap();
        assert_eq!(mount.device, Some(DeviceNumber { major: 98, minor: 0 }));
        assert_eq!(
            (mount.root.as_str(), mount.kind.as_str(), mount.source.as_str()),
            ("/mnt1", "overlay", "o")
        );
        assert_eq!(mount.point, Path::new("/with space"));
        assert_eq!(mount.super_option("upperdir").as_deref(), Some(Path::new("/u")));
        assert_eq!(mount.super_option("upper"), None);
    }

    #[test]
    fn a_path_is_in_the_innermost_mount_that_is_in_sight() {
        let line = |point: &str, source: &str| format!("36 35 0:1 / {point} rw - btrfs {source} rw\n");
        let text = [line("/", "a"), line("/v", "b"), line("/v", "c"), line("/v/w", "d")].concat();
        let source = |path: &str| holding(parse(&text), Path::new(path)).unwrap().source;
        assert_eq!(["/x", "/v", "/v/x", "/v/w/x", "/vw"].map(source), ["a", "c", "c", "d", "a"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[ -~\\n]{0,200}") {
            parse(&text);
        }
    }
}
