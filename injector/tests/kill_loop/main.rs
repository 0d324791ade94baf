//! Injections of every kind, killed at any moment: nothing is left, after at most one `restore`. Needs root and cgroups.
//!
//! `BALLAST_TEST_KILLS` says how often (20 by default), `BALLAST_TEST_SEED` draws others: scripts/kill-loop.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod scene;

use std::{process::Child, time::Duration};

use ballast_injector::clocks;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use scene::Scene;

const KILLS: u64 = 20;
const SEED: u64 = 20;

/// What is done to an injection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    Worker,
    Supervisor,
    SupervisorAndWorker,
    SupervisorAndJanitor,
    All,
    /// All processes of the target end, and others come.
    TargetRestarts,
    /// The cgroup is removed, and made again.
    TargetIsMadeAnew,
}

const BLOWS: [Blow; 7] = [
    Blow::Worker,
    Blow::Supervisor,
    Blow::SupervisorAndWorker,
    Blow::SupervisorAndJanitor,
    Blow::All,
    Blow::TargetRestarts,
    Blow::TargetIsMadeAnew,
];

/// How an injection is asked for, but for its place.
const KINDS: [&[&str]; 6] = [
    &["cpu", "--intensity", "20%"],
    &["disk", "--intensity", "2MB/s", "--file-size", "4MiB"],
    &["llc", "--intensity", "10%"],
    &["membw", "--intensity", "50MB/s"],
    &["memory", "--intensity", "32MiB"],
    &["pause"],
];

#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn whatever_is_killed_nothing_is_left() {
    let Some(mut scene) = Scene::set("whatever_is_killed_nothing_is_left") else { return };
    let (kills, seed) = (number("BALLAST_TEST_KILLS", KILLS), number("BALLAST_TEST_SEED", SEED));
    let mut chance = Pcg64Mcg::seed_from_u64(seed);
    let (before, mut restored) = (scene.everything(), 0);
    for round in 0..kills {
        let kind = KINDS[chance.random_range(0..KINDS.len())];
        let place = if kind[0] == "pause" || chance.random() { "--target" } else { "--beside" };
        let blow = BLOWS[chance.random_range(0..BLOWS.len())];
        let after = Duration::from_micros(chance.random_range(0..400_000));
        let what = format!("round {round} (seed {seed}): {kind:?} {place}, {blow:?} after {after:?}");
        let supervisor = scene.inject(kind, place);
        clocks::sleep_until(clocks::monotonic() + after);
        strike(&mut scene, &supervisor, blow);
        scene::end(supervisor, &what);
        if !scene.is_soon(&before) {
            restored += 1;
            scene.restore();
        }
        assert!(
            scene.is_soon(&before),
            "{what}: {:#?}",
            scene.everything().difference(&before).collect::<Vec<_>>()
        );
        scene.revive();
    }
    eprintln!("{kills} blows, nothing left; {restored} took a `restore`");
}

fn strike(scene: &mut Scene, supervisor: &Child, blow: Blow) {
    let (worker, janitor) = scene::children_of(supervisor.id());
    let supervisor = Some(supervisor.id());
    match blow {
        Blow::Worker => scene::kill(&[worker]),
        Blow::Supervisor => scene::kill(&[supervisor]),
        Blow::SupervisorAndWorker => scene::kill(&[supervisor, worker]),
        Blow::SupervisorAndJanitor => scene::kill(&[supervisor, janitor]),
        Blow::All => scene::kill(&[supervisor, worker, janitor]),
        Blow::TargetRestarts => scene.restart_target(),
        Blow::TargetIsMadeAnew => scene.remake_target(),
    }
}
