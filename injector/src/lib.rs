//! Contention on purpose: an exact dose of load inside a container's limits, and nothing left behind.
//!
//! Must not know what the load is good for: neither controllers nor latencies nor labels.
//!
//! # Processes
//!
//! ```text
//! supervisor                the process that the user started; decides, measures, reports
//! |- worker                 makes the load, in the target's cgroup
//! `- janitor                waits until the supervisor ends, however it ends; then cleans up
//! ```
//!
//! Each child reads a pipe whose other end only the supervisor holds, so the kernel itself tells them of its death.
//!
//! | killed (SIGKILL) | what happens |
//! | --- | --- |
//! | supervisor | the janitor reads end-of-file, kills the worker and removes the journal entry; the worker reads end-of-file too and ends by itself |
//! | worker | the supervisor reads end-of-file from it, lets the janitor clean up and exits with a code of its own |
//! | janitor | the supervisor finds it dead at the end and cleans up itself, with the same function |
//! | supervisor and worker | as supervisor |
//! | supervisor and janitor | the worker reads end-of-file and ends; the journal entry stays, until `restore` or the next injection |
//! | all three | as before |
//!
//! The janitor is in no injected cgroup, so no exhausted quota holds it up. Both children are in process groups of their
//! own, so that Ctrl-C in a terminal reaches the supervisor alone. A supervisor that is stopped (SIGSTOP) does not
//! prolong the load: the worker has the deadline too. The journal entry names the worker (id and start time) and is
//! written before the worker touches the target, removed after it is gone.
//!
//! Nothing is made that would outlive its process: no cgroup, no limit, no file but the journal entry. [`target`] says
//! why the load is in the target's own cgroup.

pub mod cli;
pub mod clocks;
pub mod console;
pub mod dose;
pub mod error;
pub mod intensity;
pub mod journal;
pub mod load;
pub mod process;
pub mod report;
pub mod restore;
pub mod target;

pub use error::{ExitStatus, InjectorError};
