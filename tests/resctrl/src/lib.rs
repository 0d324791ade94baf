//! The kernel's resctrl file system, emulated for machines whose processors lack it: the same files, the same refusals.
//!
//! The rules are those of the kernel's documentation (Documentation/filesystems/resctrl.rst); comments name its sections.
//! Must not know Ballast: its tests do. Left out: pseudo-locking, moving MON groups, counter assignment (`mbm_event`),
//! Sub-NUMA clusters and the files of the mount option `debug`.

pub mod cpus;
pub mod hardware;
pub mod machine;
pub mod mount;
pub mod tasks;

pub use hardware::{Event, Hardware};
pub use machine::{Counter, Machine};
pub use mount::Mounted;
