//! Where an injection is, and what is made for that.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    shared::{PROGRAM, pause, signal},
    support::{Stage, await_true},
};

/// Cgroups made for injections, that are there now.
fn camps(stage: &Stage) -> BTreeSet<String> {
    let root = fs::read_dir(stage.tree.hierarchy().cpu_root()).unwrap();
    let names = root.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("ballast-injection-")).collect()
}

#[test]
fn beside_a_target_its_limit_does_not_count_and_its_cgroup_stays_its_own() {
    let Some(mut stage) = Stage::set("beside") else { return };
    stage.limit(0.05);
    let victim = stage.occupy("sleep", &["600"]);
    let running = stage.start(&["cpu", "--intensity", "0.4", "--beside"], "2s", &[]);
    assert_eq!(stage.cgroup.pids().unwrap(), [victim]);
    let camp = format!("ballast-injection-{}", running.started["id"].as_str().unwrap());
    assert!(camps(&stage).contains(&camp));
    let ended = running.end();
    assert_eq!((ended.code, ended.report["place"].as_str()), (Some(0), Some("beside")));
    assert!(ended.report["achieved"].as_f64().unwrap() > 0.3, "{}", ended.report);
    assert!(!camps(&stage).contains(&camp), "it was made for the injection alone");
}

#[test]
fn a_killed_supervisor_leaves_no_cgroup() {
    let Some(stage) = Stage::set("camp") else { return };
    let mut running = stage.start(&["cpu", "--intensity", "0.2", "--beside"], "10m", &[]);
    let camp = format!("ballast-injection-{}", running.started["id"].as_str().unwrap());
    assert!(camps(&stage).contains(&camp));
    running.supervisor.kill().unwrap();
    running.supervisor.wait().unwrap();
    await_true("the cgroup is gone", || !camps(&stage).contains(&camp), || camp.clone());
    assert_eq!(stage.restore()["removed"], serde_json::json!([]));
}

#[test]
fn a_paused_target_stands_still_and_goes_on() {
    let Some(mut stage) = Stage::set("pause") else { return };
    stage.occupy("sh", &["-c", "while :; do :; done"]);
    let used = || stage.cpu().counters().unwrap().usage;
    // The kernel may be busy with others' cgroups when this one is to go on: once of three times is on time.
    let mut late = f64::INFINITY;
    for _ in 0..3 {
        let running = stage.start(&["pause", "--target"], "1s", &[]);
        pause(Duration::from_millis(100));
        let before = used();
        pause(Duration::from_millis(400));
        assert_eq!(used(), before, "it was paused");
        let ended = running.end();
        assert_eq!((ended.code, &ended.report["ending"]), (Some(0), &Value::from("completed")));
        assert!(ended.report["achieved"].as_f64().unwrap() > 0.95, "{}", ended.report);
        late = late.min((ended.report["duration_seconds"].as_f64().unwrap() - 1.0).abs());
        let after = used();
        pause(Duration::from_millis(500));
        assert!(used() > after, "it goes on");
    }
    assert!(late < 0.05, "{late} s");
}

#[test]
fn a_target_goes_on_when_the_supervisor_is_killed() {
    let Some(mut stage) = Stage::set("thaw") else { return };
    stage.occupy("sh", &["-c", "while :; do :; done"]);
    let used = || stage.cpu().counters().unwrap().usage;
    for with_janitor in [true, false] {
        let mut running = stage.start(&["pause", "--target"], "10m", &[]);
        if !with_janitor {
            signal(running.janitor, Signal::SIGKILL);
        }
        running.supervisor.kill().unwrap();
        running.supervisor.wait().unwrap();
        if !with_janitor {
            assert_eq!(stage.restore()["removed"].as_array().unwrap().len(), 1);
        }
        let before = used();
        await_true("it goes on", || used() > before, || format!("{:?}", used()));
    }
}

#[test]
fn a_program_does_not_pause_itself() {
    let Some(mut stage) = Stage::set("pause-self") else { return };
    let name = stage.cgroup.path().to_string();
    let told = stage.folder.path().join("told");
    let [program, told, state_dir] =
        [PROGRAM.into(), told, stage.state_dir()].map(|path: PathBuf| path.display().to_string());
    let when_inside = "while ! grep -q \"$1\" /proc/self/cgroup; do :; done; \
                       \"$2\" pause --target \"$1\" --duration 1s --state-dir \"$4\" 2>\"$3\"; echo \"code $?\" >>\"$3\"";
    stage.occupy("sh", &["-c", when_inside, "sh", &name, &program, &told, &state_dir]);
    let said = || fs::read_to_string(&told).unwrap_or_default();
    await_true("it has ended", || said().contains("code"), said);
    assert!(said().contains("would be paused too") && said().contains("code 9"), "{}", said());
}

#[test]
fn inside_a_target_a_load_stays_on_its_processors() {
    let Some(mut stage) = Stage::set("cpuset") else { return };
    let path = stage.cgroup.path().clone();
    let cpuset = Path::new("/sys/fs/cgroup/cpuset").join(path.as_str());
    if !cpuset.parent().is_some_and(|root| root.join("cgroup.procs").exists()) {
        return eprintln!("SKIPPED inside_a_target_a_load_stays_on_its_processors: cgroup v1 only");
    }
    fs::create_dir(&cpuset).unwrap();
    for (file, value) in [("cpuset.cpus", "0"), ("cpuset.mems", "0")] {
        fs::write(cpuset.join(file), value).unwrap();
    }
    let victim = stage.occupy("sleep", &["600"]);
    fs::write(cpuset.join("cgroup.procs"), victim.to_string()).unwrap();
    let running = stage.inject("0.2", "10m", &["--threads", "2"]);
    let status = fs::read_to_string(format!("/proc/{}/status", running.worker)).unwrap();
    signal(running.supervisor.id(), Signal::SIGTERM);
    assert_eq!(running.end().code, Some(7));
    stage.evict();
    await_true("its cpuset is empty", || fs::remove_dir(&cpuset).is_ok(), || format!("{}", cpuset.display()));
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
}
