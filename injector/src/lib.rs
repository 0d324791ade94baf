//! Contention on purpose: an exact dose of load inside a container's limits, and nothing left behind.
//!
//! Must not know what the load is good for: neither controllers nor latencies nor labels.
//!
//! A [kind](kinds) says what a dose comes to, what gives it, and, before anything is done, what [takes it back](undo). A
//! [place] says where.
//!
//! # Processes
//!
//! ```text
//! supervisor                the process that the user started; decides, measures, reports; acts on the kernel itself (pause, net-*)
//! |- worker                 makes the load: in the target's cgroup, or in one made for the injection (beside a target, node)
//! `- janitor                waits until the supervisor ends, however it ends, or until it is overdue; then cleans up
//! ```
//!
//! A worker gets ready what takes time (a file, say) before it is moved to where the load is to be, so that it counts
//! against nobody's limits, and is told to begin when it is there.
//!
//! Each child reads a pipe whose other end only the supervisor holds, so the kernel itself tells them of its death; the
//! worker is killed by the kernel then (parent-death signal), for one that is throttled could not act on it.
//!
//! | killed (SIGKILL) | what happens |
//! | --- | --- |
//! | supervisor | the kernel kills the worker; the janitor reads end-of-file, takes everything back and removes the journal entry |
//! | worker | the supervisor reads end-of-file from it, lets the janitor clean up and exits with a code of its own |
//! | janitor | the supervisor finds it dead at the end and cleans up itself, with the same function |
//! | supervisor and worker | as supervisor |
//! | supervisor and janitor | the worker ends; what else was done, and the journal entry, stay until `restore` or the next injection |
//! | all three | as before |
//!
//! The janitor is in no injected cgroup, so no exhausted quota holds it up. Both children are in process groups of their
//! own, so that Ctrl-C in a terminal reaches the supervisor alone. A supervisor that is stopped (SIGSTOP) does not
//! prolong the load: the worker has the deadline too, and the janitor waits for a bounded time. The journal entry names
//! every step back and is written before the first step forth, removed after the last one back.
//!
//! Where netem is missing, the packets of net-delay and net-loss go through the supervisor. When it is killed they are lost until
//! the janitor has taken the detour away, which begins at once; with both killed, until `restore` or the next injection. A
//! supervisor that is stopped holds them up until it goes on, or the janitor's patience ends.
//!
//! Traffic that competes for a container's network is sent by the supervisor itself, and ends with its sockets.
//!
//! [`target`] says why a load inside a target is in the target's own cgroup.

pub mod campaign;
pub mod cli;
pub mod clocks;
pub mod console;
pub mod error;
pub mod guards;
pub mod intensity;
pub mod journal;
pub mod kinds;
pub mod load;
pub mod manual;
pub mod place;
pub mod process;
pub mod program;
pub mod report;
pub mod restore;
pub mod service;
pub mod target;
pub mod undo;
pub mod unit;

pub use error::{ExitStatus, InjectorError};
