//! The real program on real cgroups and a real network, killed at every single step of everything that it does to limits:
//! whichever it was, the next start leaves each file of the kernel and each interface as they were before, to the last byte,
//! and an empty journal. Needs root.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod follow;
#[path = "../support/mod.rs"]
mod support;

use std::{fs, io::Write, time::Duration};

use ballast_api::{LimitChange, Limits, NodeAgent, Plan};
use follow::{End, Followed, follow};
use nix::sys::signal::Signal;
use support::{
    Scratch, Server, name,
    own::{lent, set_own_limits},
    stage::{Everything, everything, on_a_host},
};
use tokio::time::sleep;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

/// Fewer steps than anything takes that is followed here: a change of all that is lent.
const FEWEST: usize = 4;

fn plan(generation: u64, lease_seconds: f64, limits: Limits) -> Plan {
    let changes = vec![LimitChange { container: name("geo"), limits }];
    Plan { generation, lease_seconds, dry_run: false, changes }
}

/// A container with limits of its own.
struct Scene {
    scratch: Scratch,
    has_disk: bool,
    own: Everything,
    /// How many kills left a file of the kernel to be put right.
    changed: usize,
}

impl Scene {
    fn new(scratch: Scratch) -> Self {
        let has_disk = set_own_limits(&scratch);
        let own = everything(&scratch);
        Self { scratch, has_disk, own, changed: 0 }
    }

    fn first(&self, lease_seconds: f64) -> Plan {
        plan(1, lease_seconds, lent(self.has_disk, 1.0))
    }

    fn second(&self) -> Plan {
        plan(2, 600.0, lent(self.has_disk, 2.0))
    }

    fn journal_is_empty(&self) -> bool {
        let Ok(text) = fs::read(self.scratch.state_dir().join("journal.json")) else { return true };
        let journal: serde_json::Value = serde_json::from_slice(&text).unwrap();
        journal["loans"].as_array().unwrap().is_empty()
    }

    /// Starts a server after another one that was killed.
    fn restart(&mut self, test: &str, nth: usize, end: &End) -> Server {
        self.changed += usize::from(everything(&self.scratch).0 != self.own.0);
        let server = Server::start(&self.scratch, &[]);
        assert_eq!(everything(&self.scratch), self.own, "{test}: step {nth}, {end:?}");
        assert!(self.journal_is_empty(), "{test}: step {nth}, {end:?}");
        server
    }
}

/// Whether that was the last step.
fn is_last(test: &str, scene: &Scene, end: &End) -> bool {
    let End::Earlier(steps) = end else { return false };
    let Scene { has_disk, changed, .. } = scene;
    println!("{test}: killed at each of {steps} steps, {changed} left changes; with a disk: {has_disk}");
    assert!(*steps >= FEWEST && *changed > 0, "{steps}, {changed}");
    true
}

fn skip(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
}

/// Kills a server at each step of what `work` has it do after what `before` had it do.
fn at_every_step(
    test: &str,
    before: impl AsyncFn(&Scene, &Server) + Sync,
    work: impl AsyncFn(&Scene, &Server, &Followed) + Sync,
) {
    on_a_host(test, async |scratch| {
        let mut scene = Scene::new(scratch);
        let mut server = Server::start(&scene.scratch, &[]);
        for nth in 1.. {
            before(&scene, &server).await;
            let followed = match follow(server.id(), nth) {
                Ok(followed) => followed,
                Err(reason) => return skip(test, &reason),
            };
            followed.count();
            work(&scene, &server, &followed).await;
            let end = followed.end();
            server.wait();
            server = scene.restart(test, nth, &end);
            if is_last(test, &scene, &end) {
                return;
            }
        }
    });
}

#[test]
fn a_first_plan() {
    let work = async |scene: &Scene, server: &Server, _: &Followed| {
        drop(server.node().apply(&scene.first(600.0)).await);
    };
    at_every_step("a_first_plan", async |_: &Scene, _: &Server| {}, work);
}

async fn lend(scene: &Scene, server: &Server) {
    server.node().apply(&scene.first(600.0)).await.unwrap();
}

#[test]
fn a_plan_that_changes_a_loan() {
    let work = async |scene: &Scene, server: &Server, _: &Followed| {
        drop(server.node().apply(&scene.second()).await);
    };
    at_every_step("a_plan_that_changes_a_loan", lend, work);
}

#[test]
fn a_restoration() {
    let work = async |_: &Scene, server: &Server, _: &Followed| {
        drop(server.node().restore(&name("geo")).await);
    };
    at_every_step("a_restoration", lend, work);
}

#[test]
fn the_end_of_a_lease() {
    let before = async |scene: &Scene, server: &Server| {
        server.node().apply(&scene.first(0.3)).await.unwrap();
    };
    let work = async |scene: &Scene, server: &Server, followed: &Followed| {
        while !scene.journal_is_empty() && !followed.is_over() {
            sleep(Duration::from_millis(5)).await;
        }
        // It answers when it is done.
        drop(server.node().containers().await);
    };
    at_every_step("the_end_of_a_lease", before, work);
}

#[test]
fn an_orderly_end() {
    let work = async |_: &Scene, server: &Server, followed: &Followed| {
        server.signal(Signal::SIGTERM);
        followed.ended().await;
    };
    at_every_step("an_orderly_end", lend, work);
}

#[test]
fn the_start_after_a_crash() {
    let test = "the_start_after_a_crash";
    on_a_host(test, async |scratch| {
        let mut scene = Scene::new(scratch);
        let mut server = Server::start(&scene.scratch, &[]);
        for nth in 1.. {
            lend(&scene, &server).await;
            server.signal(Signal::SIGKILL);
            server.wait();
            let mut held = Server::held(&scene.scratch);
            let followed = match follow(held.id(), nth) {
                Ok(followed) => followed,
                Err(reason) => {
                    held.kill().unwrap();
                    held.wait().unwrap();
                    return skip(test, &reason);
                }
            };
            followed.count();
            held.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            let started = Server::when_ready(held);
            let end = followed.end();
            match started {
                Ok(mut started) => drop(started.wait()),
                Err(mut held) => drop(held.wait().unwrap()),
            }
            server = scene.restart(test, nth, &end);
            if is_last(test, &scene, &end) {
                return;
            }
        }
    });
}
