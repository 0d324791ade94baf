//! This program, started anew as a child.
//!
//! Must not know what the child is asked for.

use std::{env::args_os, os::unix::process::CommandExt, process::Command, process::Stdio};

use nix::sys::prctl;

/// The file that this process runs: the kernel follows it also where an upgrade has put another one in its place, or none. A service
/// goes on as the version that it is, and what it starts is judged and done by the same one.
const OWN_FILE: &str = "/proc/self/exe";

/// What the kernel calls the process (cut to 15 letters), whatever the name of the file that it was started by.
const NAME: &std::ffi::CStr = c"ballast-injector";

/// This program as a child: reading a pipe, and out of reach of the terminal's Ctrl-C. Lists of processes show it as they show
/// this one.
pub(crate) fn again() -> Command {
    let mut command = Command::new(OWN_FILE);
    if let Some(typed) = args_os().next() {
        command.arg0(typed);
    }
    command.stdin(Stdio::piped()).process_group(0);
    command
}

/// Has `ps` show this process by the program's name. One that was started by [`again`] would be called after the last part of
/// that path, and taken for somebody else's by whoever looks which processes are injections.
pub fn show_by_name() {
    // Refused only where the name is no text.
    let _ = prctl::set_name(NAME);
}
