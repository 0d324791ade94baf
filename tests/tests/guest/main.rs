//! The suites that pass on this machine's kernel, once more on another: Linux 6.1 in a virtual machine, where all cgroups
//! are v2 and netem is there. The same compiled programs run on both.
//!
//! This side builds, boots, waits and judges; what is tested, the suites themselves say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod disk;
mod machine;
mod suites;
mod verdict;

use std::time::Duration;

use machine::Machine;
use suites::Suite;

/// 205 s were measured on an idle machine, 5 of them for booting, without hardware support, and 205 more on a busy one for
/// the injector's suites of cgroups. A busy one may take several times as long, and is not what is judged.
const LONGEST_RUN: Duration = Duration::from_secs(30 * 60);
/// The longest test took 50 s there, in which nothing is said: who is silent for so long does not work any more.
const LONGEST_SILENCE: Duration = Duration::from_secs(5 * 60);

/// Tests that say themselves why they make no sense there.
const ONLY_ON_V1: [&str; 3] = [
    "a_child_over_its_parents_quota_is_a_named_error",
    "a_process_that_only_the_v1_groups_hold_is_killed_one_by_one",
    "inside_a_target_a_load_stays_on_its_processors",
];

#[tokio::test]
async fn end_to_end_the_suites_pass_on_cgroup_v2_too() {
    let test = "end_to_end_the_suites_pass_on_cgroup_v2_too";
    let kernel = match machine::kernel() {
        Ok(kernel) => kernel,
        Err(reason) => return eprintln!("SKIPPED {test}: {reason}"),
    };
    let suites = suites::build();
    let folder = tempfile::Builder::new().prefix("ballast-guest-").tempdir().unwrap();
    disk::make(folder.path(), &kernel, &suites);
    let said = Machine::boot(folder.path(), &kernel).says(LONGEST_RUN, LONGEST_SILENCE).await;
    let verdicts = verdict::read(&said);
    // Quoted, so that scripts/test takes nothing of it for its own tests.
    let said: String = said.lines().map(|line| format!("guest| {line}\n")).collect();

    let names = |suites: &[Suite]| suites.iter().map(|suite| suite.name.clone()).collect::<Vec<_>>();
    let judged: Vec<_> = verdicts.iter().map(|verdict| verdict.suite.clone()).collect();
    assert_eq!(judged, names(&suites), "all suites are over: {said}");
    verdicts.iter().for_each(|verdict| eprintln!("{verdict}"));
    let bad: String =
        verdicts.iter().filter(|verdict| verdict.is_bad()).map(|verdict| format!("{verdict}\n")).collect();
    assert!(bad.is_empty(), "{bad}{said}");
    let mut skipped: Vec<_> = verdicts.into_iter().flat_map(|verdict| verdict.skipped).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ONLY_ON_V1, "what else is skipped there hides something: {said}");
}
