//! Loads on memory and caches: how much of it, where, and what is left.

use std::{fs, path::PathBuf, process::Output};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    shared::{number, signal},
    support::{Ended, NOBODY, Stage, assert_on_time, await_true},
};

const MIB: f64 = 1_048_576.0;

const FOREVER: &str = "10m";

/// That the dose is no more than was asked, nor much less. In the target, which comes before whatever else this machine
/// does; elsewhere nothing gives a load precedence, so that a busy machine leaves it less.
fn assert_dose(ended: &Ended) {
    let least = if ended.report["place"] == "inside" { 0.85 } else { 0.3 };
    assert!((least..1.05).contains(&share(ended)), "{}", ended.report);
}

/// The share of the dose that was achieved, of an injection that went as asked.
fn share(ended: &Ended) -> f64 {
    let Ended { code, report } = ended;
    assert_eq!((*code, report["ending"].as_str()), (Some(0), Some("completed")), "{report}");
    assert_on_time(report);
    let share = number(&report["achieved"]) / number(&report["requested"]);
    eprintln!("{} {} {}: achieved {share:.4} of it", report["kind"], report["place"], report["intensity"]);
    share
}

/// Bytes of a line such as `VmRSS:  1234 kB`; 0 where there is none.
fn kernel_says(file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let value =
        text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0.0) * 1024.0
}

fn resident(pid: u32) -> f64 {
    kernel_says(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn available() -> f64 {
    kernel_says("/proc/meminfo", "MemAvailable:")
}

impl Stage {
    /// The files of the target's limit and of its usage; absent where the machine has none.
    fn memory_files(&self, test: &str) -> Option<[PathBuf; 2]> {
        let (_, folder) = self.tree.hierarchy().memory_folder(self.cgroup.path())?;
        let of_both = [["memory.limit_in_bytes", "memory.usage_in_bytes"], ["memory.max", "memory.current"]];
        let found = of_both.map(|files| files.map(|file| folder.join(file)));
        let found = found.into_iter().find(|files| files.iter().all(|file| file.is_file()));
        if found.is_none() {
            eprintln!("SKIPPED {test}: no controller limits memory here");
        }
        found
    }

    fn refused(&self, what: &[&str], code: i32, told: &str) {
        let Output { status, stderr, .. } = self.command_of(what, "1s", &[]).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(told), "{stderr:?} does not say {told:?}");
        assert_eq!(self.left([NOBODY; 3]), Vec::<String>::new(), "something was begun");
    }
}

#[test]
fn a_rate_of_memory_traffic_is_kept_wherever_it_is() {
    let Some(stage) = Stage::set("membw") else { return };
    for place in ["--target", "--beside"] {
        let ended = stage.start(&["membw", "--intensity", "500MB/s", place], "2s", &[]).end();
        assert_dose(&ended);
    }
    let ended = stage.start_on_node(&["membw", "--intensity", "2MB/s", "--node"], "2s", &[]).end();
    assert_dose(&ended);
}

#[test]
fn more_traffic_than_there_is_is_not_claimed() {
    let Some(stage) = Stage::set("ceiling") else { return };
    let ended = stage.start_on_node(&["membw", "--intensity", "90000GB/s", "--node"], "500ms", &[]).end();
    assert!(
        (0.0..0.5).contains(&share(&ended)) && number(&ended.report["achieved"]) > 50e6,
        "{}",
        ended.report
    );
}

#[test]
fn a_percentage_of_memory_traffic_is_of_a_measured_ceiling() {
    let Some(stage) = Stage::set("percent-membw") else { return };
    let ended = stage.start_on_node(&["membw", "--intensity", "5%", "--node"], "2s", &[]).end();
    let (asked, ceiling) = (number(&ended.report["requested"]), number(&ended.report["details"]["ceiling"]));
    eprintln!("ceiling {:.2} GB/s", ceiling / 1e9);
    assert!((asked - 0.05 * ceiling).abs() < 1.0, "{}", ended.report);
    assert_eq!(ended.report["intensity_basis"], "node");
    assert_dose(&ended);
}

#[test]
fn a_part_of_the_cache_is_kept_in_use() {
    let Some(stage) = Stage::set("llc") else { return };
    if !std::path::Path::new("/sys/devices/system/cpu/cpu0/cache/index0/size").exists() {
        stage.refused(&["llc", "--intensity", "25%", "--beside"], 9, "does not describe it");
        eprintln!("SKIPPED llc: this machine hides its caches");
        return;
    }
    for place in ["--beside", "--target"] {
        let running = stage.start(&["llc", "--intensity", "25%", place], "2s", &[]);
        let (set, in_memory) = (number(&running.started["requested"]), resident(running.worker));
        assert!(in_memory > set, "{in_memory} of {set} bytes are in memory");
        let ended = running.end();
        let cache = number(&ended.report["details"]["cache_bytes"]);
        assert!((set - cache / 4.0).abs() <= 64.0, "{}", ended.report);
        assert_dose(&ended);
    }
    stage.refused(&["llc", "--intensity", "101%", "--beside"], 2, "of this node");
    stage.refused(
        &["llc", "--intensity", "1MiB", "--threads", "9999", "--beside"],
        9,
        "processors that share it",
    );
}

#[test]
fn a_target_without_cpu_time_keeps_less_of_the_cache_in_use() {
    let Some(stage) = Stage::set("slow-llc") else { return };
    // One millisecond in each tenth of a second is too little for a sweep over many MiB.
    stage.limit(0.01);
    let Output { status, stdout, .. } =
        stage.command_of(&["llc", "--intensity", "90%", "--target"], "2s", &[]).output().unwrap();
    if status.code() == Some(9) {
        eprintln!("SKIPPED slow-llc: this machine hides its caches");
        return;
    }
    let text = String::from_utf8(stdout).unwrap();
    let report: Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default();
    // So little CPU time may not even do for the start: then no dose is claimed at all.
    let achieved = report["achieved"].as_f64().unwrap_or(0.0);
    eprintln!("with 0.01 core {:.1} MiB are in use", achieved / MIB);
    assert!(achieved < 0.9 * report["requested"].as_f64().unwrap_or(1.0), "{report}");
}

#[test]
fn memory_in_a_target_is_a_part_of_its_limit_and_counted_as_its() {
    let Some(stage) = Stage::set("memory") else { return };
    let Some([limit, usage]) = stage.memory_files("memory") else { return };
    fs::write(&limit, "536870912").unwrap();
    let used = || fs::read_to_string(&usage).unwrap().trim().parse::<f64>().unwrap();
    let before = used();
    let running = stage.start(&["memory", "--intensity", "25%", "--target"], "2s", &[]);
    let (pids, grown) = (running.pids(), used() - before);
    eprintln!("128 MiB asked; the kernel counts {:.1} MiB", grown / MIB);
    assert!((125.0 * MIB..150.0 * MIB).contains(&grown), "{grown}");
    let ended = running.end();
    assert_eq!(
        (&ended.report["target_limit"], &ended.report["requested"]),
        (&Value::from(512.0 * MIB), &Value::from(128.0 * MIB))
    );
    assert!((0.97..1.02).contains(&share(&ended)), "{}", ended.report);
    stage.assert_nothing_left(pids);
    await_true("the memory is back", || used() < before + 8.0 * MIB, || format!("{}", used()));
}

#[test]
fn memory_beside_a_target_is_not_within_its_limit() {
    let Some(stage) = Stage::set("memory-beside") else { return };
    let Some([limit, usage]) = stage.memory_files("memory-beside") else { return };
    fs::write(&limit, "33554432").unwrap();
    let running = stage.start(&["memory", "--intensity", "64MiB", "--beside"], "1s", &[]);
    assert!(resident(running.worker) > 64.0 * MIB);
    assert!(fs::read_to_string(&usage).unwrap().trim().parse::<f64>().unwrap() < 16.0 * MIB);
    let ended = running.end();
    assert!((0.97..1.02).contains(&share(&ended)), "{}", ended.report);
}

#[test]
fn what_would_not_fit_is_refused_unless_a_kill_is_accepted() {
    let Some(stage) = Stage::set("oom") else { return };
    let Some([limit, _]) = stage.memory_files("oom") else { return };
    fs::write(&limit, "67108864").unwrap();
    stage.refused(&["memory", "--intensity", "95%", "--target"], 9, "the kernel would kill");
    stage.refused(&["membw", "--intensity", "1GB/s", "--threads", "40", "--target"], 9, "for its buffers");
    if kernel_says("/proc/meminfo", "SwapTotal:") > 0.0 {
        eprintln!("SKIPPED oom: this machine swaps, so nothing is killed");
        return;
    }
    let killed = stage.command_of(&["memory", "--intensity", "128MiB", "--allow-oom", "--target"], "1s", &[]);
    let Output { status, stderr, .. } = { killed }.output().unwrap();
    assert_eq!(status.code(), Some(6), "{}", String::from_utf8_lossy(&stderr));
    assert!(stage.cgroup.pids().unwrap().is_empty());
    assert_eq!(stage.left([NOBODY; 3]), Vec::<String>::new());
}

#[test]
fn the_floor_is_left_to_others() {
    let Some(stage) = Stage::set("floor") else { return };
    let before = available();
    if before < 4096.0 * MIB {
        eprintln!("SKIPPED floor: it needs 4 GiB of available memory");
        return;
    }
    let floor = |left: f64| format!("{}B", before - left);
    stage.refused(
        &["memory", "--intensity", "1GiB", "--floor", &floor(256.0 * MIB), "--beside"],
        9,
        "ask for at most",
    );
    // Others may take 768 MiB meanwhile without a change of the outcome.
    let what = ["memory", "--intensity", "256MiB", "--floor", &floor(1024.0 * MIB), "--node"];
    let running = stage.start_on_node(&what, FOREVER, &["--until-stdin-closes"]);
    if resident(running.worker) < 250.0 * MIB {
        eprintln!("SKIPPED floor: somebody else needs the memory");
        return;
    }
    // Now somebody does: this test.
    let taken: Vec<u64> = (0..256 << 20).collect();
    let worker = running.worker;
    await_true(
        "the memory is given back",
        || resident(worker) < 32.0 * MIB,
        || format!("{}", resident(worker)),
    );
    assert_eq!(taken.last(), Some(&((256 << 20) - 1)));
    drop(taken);
    let mut running = running;
    drop(running.supervisor.stdin.take());
    let ended = running.end();
    assert_eq!((ended.code, ended.report["ending"].as_str()), (Some(0), Some("stdin_closed")));
    assert!(number(&ended.report["achieved"]) < 250.0 * MIB, "{}", ended.report);
}

#[test]
fn a_killed_supervisor_leaves_neither_process_nor_memory() {
    let Some(stage) = Stage::set("memory-killed") else { return };
    for what in [
        ["membw", "--intensity", "200MB/s", "--target"],
        ["memory", "--intensity", "64MiB", "--target"],
        ["llc", "--intensity", "1MiB", "--beside"],
    ] {
        if what[0] == "llc"
            && !std::path::Path::new("/sys/devices/system/cpu/cpu0/cache/index0/size").exists()
        {
            eprintln!("SKIPPED memory-killed for llc: this machine hides its caches");
            continue;
        }
        let running = stage.start(&what, FOREVER, &[]);
        let pids = running.pids();
        signal(pids[0], Signal::SIGKILL);
        eprintln!("{}: nothing is left after {:?}", what[0], stage.assert_nothing_left(pids));
        assert_eq!(stage.restore()["removed"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn too_little_and_nonsense_are_bad_usage() {
    let Some(stage) = Stage::set("memory-range") else { return };
    for (what, told) in [
        (["membw", "--intensity", "1kB/s", "--target"], "at least 1.000 MB/s"),
        (["membw", "--intensity", "1GB", "--target"], "such as 200MB/s"),
        (["membw", "--intensity", "101%", "--target"], "of this node"),
        (["llc", "--intensity", "0B", "--target"], "out of range"),
        (["memory", "--intensity", "64", "--target"], "such as 64MiB"),
        (["memory", "--intensity", "9000GiB", "--target"], "of this node"),
    ] {
        stage.refused(&what, 2, told);
    }
}
