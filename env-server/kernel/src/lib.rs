//! Kernel interfaces of containers: where cgroup controllers are mounted, groups of processes, CPU bandwidth,
//! last-level cache and memory bandwidth.
//!
//! Every root is given by the caller, so that a folder of a test is as good as the kernel's. Must not know what a
//! plan, a lease or a network is.

pub mod cgroup;
pub mod cpu;
pub mod error;
pub mod hierarchy;
pub mod machine;
pub mod path;
pub mod resctrl;

mod file;

pub use cgroup::{Cgroup, CgroupTree};
pub use cpu::{CpuControl, CpuCounters};
pub use error::KernelError;
pub use hierarchy::Hierarchy;
pub use path::CgroupPath;
