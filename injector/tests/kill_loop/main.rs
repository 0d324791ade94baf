//! Injections of every kind, killed at any moment: nothing is left, and nothing is missing, after at most one `restore`. Needs
//! root, cgroups and network namespaces.
//!
//! `BALLAST_TEST_KILLS` says how often (20 by default), `BALLAST_TEST_SEED` draws others: scripts/kill-loop.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail as its tests do")]

mod blow;
#[path = "../network/container.rs"]
#[allow(dead_code, reason = "it serves the tests of doses too")]
mod container;
mod scene;
#[path = "../shared/mod.rs"]
mod shared;
#[path = "../injection/support.rs"]
#[allow(dead_code, reason = "it serves the tests of the single kinds too")]
mod support;
mod traces;

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use blow::{Blow, Fate};
use container::{HOST_ADDRESS, as_a_host};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use scene::Scene;
use shared::pause;

const KILLS: u64 = 20;
const SEED: u64 = 20;

/// A blow comes within so long after the start: while it begins, or well after that.
const LATEST_BLOW: Duration = Duration::from_millis(400);

/// How an injection is asked for, but for its place.
const KINDS: [&[&str]; 10] = [
    &["cpu", "--intensity", "20%"],
    &["disk", "--intensity", "2MB/s", "--file-size", "16MiB"],
    &["llc", "--intensity", "10%"],
    &["membw", "--intensity", "50MB/s"],
    &["memory", "--intensity", "32MiB"],
    &["net-bandwidth", "--intensity", "10Mbit/s"],
    &["net-bandwidth", "--intensity", "5Mbit/s", "--traffic"],
    &["net-delay", "--intensity", "1ms"],
    &["net-loss", "--intensity", "5%", "--means", "relay"],
    &["pause"],
];

const PLACES: [&str; 3] = ["--target", "--beside", "--node"];

#[expect(clippy::disallowed_methods, reason = "a test has no command line of its own")]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

fn kills() -> u64 {
    number("BALLAST_TEST_KILLS", KILLS)
}

fn chance() -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(number("BALLAST_TEST_SEED", SEED))
}

fn moment(chance: &mut Pcg64Mcg) -> Duration {
    chance.random_range(Duration::ZERO..LATEST_BLOW)
}

#[test]
fn whatever_is_killed_nothing_is_left() {
    let test = "whatever_is_killed_nothing_is_left";
    as_a_host(test, || {
        let Some(mut scene) = Scene::set(test) else { return };
        let fresh = scene.everything();
        let kinds: Vec<_> = KINDS.into_iter().filter(|kind| scene.can(kind, test)).collect();
        assert!(scene.is_soon(&fresh), "without any blow: {:#?}", scene.differences(&fresh));
        let mut chance = chance();
        let (mut begun, mut restored) = (0, 0);
        for round in 0..kills() {
            let kind = kinds[chance.random_range(0..kinds.len())];
            let outcome = hit(&mut scene, kind, &mut chance, round, &fresh);
            begun += u64::from(outcome.begun);
            restored += u64::from(outcome.restored);
        }
        scene.limit_network(0.0, 0.0);
        assert!(scene.is_soon(&fresh), "in the end: {:#?}", scene.differences(&fresh));
        eprintln!("{} blows, nothing left; {begun} met a dose, {restored} took a `restore`", kills());
    });
}

struct Outcome {
    /// Whether the dose had begun.
    begun: bool,
    restored: bool,
}

/// One round: `fresh` is what there is of a target that nobody has touched.
fn hit(
    scene: &mut Scene,
    kind: &[&str],
    chance: &mut Pcg64Mcg,
    round: u64,
    fresh: &BTreeSet<String>,
) -> Outcome {
    let is_of_network = kind[0].starts_with("net-");
    // The others are what is done to a container itself.
    let places = if is_of_network || kind[0] == "pause" { &PLACES[..1] } else { &PLACES };
    let place = places[chance.random_range(0..places.len())];
    let (blow, after) = (Blow::draw(chance), moment(chance));
    let limits = LIMITS[chance.random_range(0..if kind[0] == "net-bandwidth" { 3 } else { 2 })];
    let what = format!("round {round}: {kind:?} {place}, limits {limits:?}, {blow:?} after {after:?}");
    scene.limit_network(limits.0, limits.1);
    let before = scene.everything();
    let injection = scene.inject(kind, place);
    pause(after);
    blow.strike(scene, &injection);
    let begun = injection.end(&what);
    if blow.target == Fate::IsMadeAnew && limits.0 > 0.0 {
        scene.sweep();
    }
    // Nothing of the old one is to be on one that was made anew.
    let expected = if blow.target == Fate::IsMadeAnew { fresh } else { &before };
    // Where nobody is left who would clean up, there is nothing to wait for.
    let restored =
        blow.leaves_nobody() && !scene.differences(expected).is_empty() || !scene.is_soon(expected);
    if restored {
        scene.restore();
    }
    assert!(scene.is_soon(expected), "{what}: {:#?}", scene.differences(expected));
    if is_of_network {
        scene.assert_connected(&what);
    }
    Outcome { begun, restored }
}

/// Of what the target sends and receives, in Mbit/s, while it is injected into; 0 for none. A relay refuses the last.
const LIMITS: [(f64, f64); 3] = [(0.0, 0.0), (0.0, 80.0), (40.0, 80.0)];

#[test]
fn a_killed_load_generator_leaves_nothing() {
    let test = "a_killed_load_generator_leaves_nothing";
    as_a_host(test, || {
        let Some(scene) = Scene::set(test) else { return };
        // Nobody answers: the kernel alone takes the connections.
        let listener = TcpListener::bind((HOST_ADDRESS, 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let (before, mut chance) = (scene.everything(), chance());
        for _ in 0..kills().div_ceil(10) {
            let mut load = scene.load(&url);
            pause(moment(&mut chance));
            load.kill().unwrap();
            assert!(!load.wait().unwrap().success());
            assert_eq!(scene.differences(&before), Vec::<String>::new());
        }
    });
}
