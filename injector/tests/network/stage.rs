//! A target with a network, on a host of the test's own, and injections of it.

use std::process::Stdio;

use ballast_kernel::NetworkControl;
use nix::sys::signal::Signal;

pub(crate) use crate::container::{CONTAINER_ADDRESS, HOST_ADDRESS, VETH, dump, mbits, run};
use crate::{
    container::{Container, as_a_host},
    shared::signal,
    support::{Ended, Running, Stage},
};

/// Longer than any test measures.
pub(crate) const FOREVER: &str = "10m";

/// A target whose one process has a network.
pub(crate) struct Scene {
    container: Container,
    pub(crate) stage: Stage,
}

/// Plays the host in a private namespace, with a target on it; says so and does nothing where this machine cannot.
pub(crate) fn on_a_host(test: &str, work: impl FnOnce(&mut Scene) + Send) {
    as_a_host(test, || {
        let Some(stage) = Stage::set(&format!("net-{test}")) else { return };
        let container = Container::start();
        stage.cgroup.attach(container.pid()).unwrap();
        work(&mut Scene { container, stage });
    });
}

impl Scene {
    /// Does something in the container's namespace.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.container.inside(work)
    }

    pub(crate) fn control(&self) -> NetworkControl {
        self.container.control()
    }

    /// Ends the container's only process, and its network with it.
    pub(crate) fn end_container(&mut self) {
        self.container.end();
    }

    /// Starts an injection of such a kind with its options, and waits until it runs.
    pub(crate) fn start(&self, what: &str, duration: &str) -> Running {
        let what: Vec<_> = what.split_whitespace().chain(["--target"]).collect();
        self.stage.start(&what, duration, &[])
    }

    /// Tries one that is refused, and answers its exit code and what it says.
    pub(crate) fn refused(&self, what: &str) -> (Option<i32>, String) {
        let what: Vec<_> = what.split_whitespace().chain(["--target"]).collect();
        let output = self.stage.command_of(&what, "1s", &[]).stderr(Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// All that there is of a network, in both namespaces.
    pub(crate) fn dump(&self) -> String {
        [dump(), self.inside(dump)].concat()
    }

    /// Nothing is left of an injection: no process, no file, and the network is as it was.
    pub(crate) fn assert_as_before(&self, before: &str, pids: [u32; 3]) {
        self.stage.assert_nothing_left(pids);
        self.assert_same(before);
    }

    /// The network is as it was.
    pub(crate) fn assert_same(&self, before: &str) {
        let now = self.dump();
        let only_in = |one: &str, other: &str| {
            let lines = one.lines().filter(|line| !other.lines().any(|of_other| of_other == *line));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert!(
            now == before,
            "before only:\n{}\nnow only:\n{}",
            only_in(before, &now),
            only_in(&now, before)
        );
    }
}

/// An injection that ran to its end.
pub(crate) fn assert_completed(ended: &Ended) {
    assert_eq!((ended.code, &ended.report["ending"]), (Some(0), &"completed".into()), "{}", ended.report);
    assert_all_given(ended);
}

/// Ends an injection that was measured, however long that took, and looks whether it was in force all the time.
pub(crate) fn end(running: Running) {
    signal(running.supervisor.id(), Signal::SIGTERM);
    let ended = running.end();
    assert_eq!((ended.code, &ended.report["ending"]), (Some(7), &"interrupted".into()), "{}", ended.report);
    assert_all_given(&ended);
}

fn assert_all_given(ended: &Ended) {
    let [requested, achieved] = ["requested", "achieved"].map(|field| ended.report[field].as_f64().unwrap());
    assert!((achieved / requested - 1.0).abs() < 1e-9, "{}", ended.report);
}
