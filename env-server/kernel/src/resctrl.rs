//! Last-level cache and memory bandwidth: the kernel's resctrl file system, one control group per container that needs one.
//!
//! Must not know who lends what to whom, nor when. The facts are those of the kernel's documentation of resctrl
//! (Documentation/filesystems/resctrl.rst); comments name its sections.

pub mod bandwidth;
pub mod control;
pub mod group;
pub mod info;
pub mod mask;
pub mod monitor;
pub mod schemata;
pub mod sharing;
pub mod tasks;

pub use control::{InForce, ResctrlControl, ResctrlLimits, ResctrlNode};
pub use group::{Group, GroupName, Groups};
pub use info::{Absent, BandwidthInfo, CacheInfo, Found, Info, ResctrlMount};
pub use monitor::{Counters, Rates};
pub use schemata::Schemata;
