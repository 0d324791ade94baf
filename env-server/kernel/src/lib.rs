//! Kernel interfaces of containers: where cgroup controllers are mounted, groups of processes, CPU time, disks, network
//! rates, last-level cache and memory bandwidth.
//!
//! Every root is given by the caller, so that a folder of a test is as good as the kernel's. Must not know what a
//! plan or a lease is.

pub mod cgroup;
pub mod cpu;
pub mod cpuset;
pub mod disk;
pub mod error;
pub mod freezer;
pub mod hierarchy;
pub mod machine;
pub mod memory;
pub mod network;
pub mod path;
pub mod resctrl;

mod file;
mod mounts;

pub use cgroup::{Cgroup, CgroupTree, Representatives};
pub use cpu::{AncestorQuotas, CpuBandwidth, CpuControl, CpuCounters};
pub use disk::{DeviceNumber, DiskControl, DiskCounters, DiskLimits, DiskTraffic};
pub use error::KernelError;
pub use freezer::Freezer;
pub use hierarchy::Hierarchy;
pub use memory::MemoryControl;
pub use network::{Interface, NetworkControl};
pub use path::CgroupPath;
