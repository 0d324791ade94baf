//! A whole topology on real cgroups, memcached and Redis: its traces, and what is left of it afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, fs, path::Path};

use ballast_kernel::{CgroupTree, Hierarchy};
use ballast_sim::{
    Topology,
    topology::{OperationName, SHIPPED, Step},
};
use common::{Sink, Span, Up, eventually, finish, is_alive, skipped, testbed};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

/// The shipped topology with a mix in which every request type comes up soon, and with one background call.
fn hotel(folder: &Path) -> (String, Topology) {
    let text = SHIPPED[0]
        .1
        .replace("share = 0.6\n", "share = 0.4\n")
        .replace("share = 0.39\n", "share = 0.2\n")
        .replace("share = 0.005\n", "share = 0.2\n")
        .replace(
            "{ call = [\"user.check-user\"] }]",
            "{ call = [\"user.check-user\"] }, { notify = [\"recommendation.get-recommendations\"] }]",
        );
    let path = folder.join("hotel.toml");
    fs::write(&path, &text).unwrap();
    (path.to_str().unwrap().to_owned(), text.parse().unwrap())
}

/// Service, kind and name of every span that a request must leave.
fn expected(topology: &Topology, request: &str) -> Vec<(String, SpanKind, String)> {
    let operation = &topology.requests.iter().find(|known| known.name == request).unwrap().operation;
    let mut spans = vec![("load-generator".to_owned(), SpanKind::Client, request.to_owned())];
    add(topology, operation, SpanKind::Server, request.to_owned(), &mut spans);
    spans.sort_by_key(|span| format!("{span:?}"));
    spans
}

fn add(
    topology: &Topology,
    name: &OperationName,
    kind: SpanKind,
    span: String,
    spans: &mut Vec<(String, SpanKind, String)>,
) {
    let service = name.service.to_string();
    spans.push((service.clone(), kind, span));
    for step in &topology.operation(name).unwrap().steps {
        let (callees, here, there) = match step {
            Step::CpuUs(_) => continue,
            Step::Fetch(fetch) => {
                spans.push((service.clone(), SpanKind::Client, format!("{}.get", fetch.store)));
                continue;
            }
            Step::Call(callees) => (callees, SpanKind::Client, SpanKind::Server),
            Step::Notify(callees) => (callees, SpanKind::Producer, SpanKind::Consumer),
        };
        for callee in callees {
            spans.push((service.clone(), here, callee.to_string()));
            add(topology, callee, there, callee.to_string(), spans);
        }
    }
}

fn found(spans: &[Span]) -> Vec<(String, SpanKind, String)> {
    let mut found: Vec<_> =
        spans.iter().map(|span| (span.service.clone(), span.kind, span.name.clone())).collect();
    found.sort_by_key(|span| format!("{span:?}"));
    found
}

fn check_tree(spans: &[Span], node: &str) {
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.id, span)).collect();
    for span in spans {
        assert!(!span.failed, "{span:?}");
        assert!(span.start <= span.end, "{span:?}");
        if span.service == "load-generator" {
            assert_eq!((span.parent.len(), span.peer.as_deref()), (0, Some("frontend")), "{span:?}");
            continue;
        }
        let parent = by_id.get(&span.parent).unwrap_or_else(|| panic!("no parent of {span:?}"));
        assert!(parent.start <= span.start, "{span:?} begins before {parent:?}");
        assert_eq!(span.container.as_ref(), Some(&span.service), "{span:?}");
        assert_eq!(span.host.as_deref(), Some(node), "{span:?}");
        match span.kind {
            SpanKind::Server | SpanKind::Consumer => {
                assert_eq!(parent.peer.as_ref(), Some(&span.service), "{span:?} called by {parent:?}");
            }
            _ => {
                assert_eq!(parent.service, span.service, "{span:?} below {parent:?}");
                assert_eq!(span.peer.as_deref(), span.name.split_once('.').map(|name| name.0), "{span:?}");
            }
        }
    }
}

fn cgroup(parent: &str) -> Option<ballast_kernel::Cgroup> {
    CgroupTree::new(Hierarchy::find("/proc/self/mountinfo".as_ref()).unwrap()).find(parent).unwrap()
}

fn check_nothing_left(parent: &str, work_dir: &Path, pids: &[u32]) {
    assert!(cgroup(parent).is_none(), "cgroup {parent}");
    assert!(!work_dir.exists(), "{}", work_dir.display());
    for pid in pids {
        assert!(!is_alive(*pid), "process {pid}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn requests_leave_whole_traces_and_a_killed_supervisor_leaves_no_process() {
    if skipped("requests_leave_whole_traces_and_a_killed_supervisor_leaves_no_process").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (file, topology) = hotel(folder.path());
    let work_dir = folder.path().join("work");
    let parent = format!("ballast-test-traces-{}", std::process::id());
    let sink = Sink::default();
    let otlp = sink.start().await;
    let place = ["--cgroup-parent", &parent, "--work-dir", work_dir.to_str().unwrap()];
    let mut up = Up::start(
        &[&place[..], &["--topology", &file, "--node", "here", "--otlp", &otlp, "--with-redis"]].concat(),
    );
    assert_eq!(up.ready["containers"].as_array().unwrap().len(), 11);
    assert!(up.ready["redis"].as_str().unwrap().starts_with("redis://127.0.0.1:"));

    let each = folder.path().join("each.jsonl");
    let (code, stdout, stderr) = finish({
        let mut load = testbed(&["load", "--rate", "20", "--duration", "5s", "--json", "--topology", &file]);
        load.args(["--otlp", &otlp, "--url", up.ready["frontend"].as_str().unwrap()]);
        load.args(["--each", each.to_str().unwrap()]);
        load
    });
    assert_eq!(code, 0, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(summary["failed"], 0, "{stdout}");
    for request in &topology.requests {
        assert!(summary["per_type"][&request.name]["completed"].as_u64().unwrap() > 0, "{stdout}");
    }

    let intended: BTreeMap<u64, serde_json::Value> = fs::read_to_string(&each)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (line["intended_unix_nanos"].as_u64().unwrap(), line))
        .collect();
    assert_eq!(intended.len() as u64, summary["sent"].as_u64().unwrap());
    let root = |spans: &[Span]| spans.iter().find(|span| span.parent.is_empty()).cloned();
    let whole =
        |spans: &[Span]| root(spans).is_some_and(|root| found(spans) == expected(&topology, &root.name));
    eventually("all traces arrive whole", || {
        let traces = sink.traces();
        traces.len() == intended.len() && traces.values().all(|spans| whole(spans))
    });
    for spans in sink.traces().values() {
        check_tree(spans, "here");
        let root = root(spans).unwrap();
        let line = &intended[&root.start];
        assert_eq!(line["request"], root.name.as_str());
        let latency_ns = line["latency_ms"].as_f64().unwrap() * 1e6;
        assert!((latency_ns - (root.end - root.start) as f64).abs() < 1e3, "{line} {root:?}");
    }

    let pids = up.children();
    // 8 services, 3 stores, Redis.
    assert_eq!(pids.len(), 12);
    let contained = cgroup(&parent).unwrap().pids().unwrap();
    assert_eq!(contained.len(), 11);
    let elsewhere = folder.path().join("elsewhere");
    let not_its_folder = ["sweep", "--cgroup-parent", &parent, "--work-dir", elsewhere.to_str().unwrap()];
    let (code, _, stderr) = finish(testbed(&not_its_folder));
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(up.children(), pids, "a cgroup that is not said to be a testbed's is not touched");

    up.process.kill().unwrap();
    up.process.wait().unwrap();
    eventually("all children die with their supervisor", || !pids.iter().any(|pid| is_alive(*pid)));
    for _ in 0..2 {
        let (code, _, stderr) = finish(testbed(&[&["sweep"][..], &place[..]].concat()));
        assert_eq!(code, 0, "{stderr}");
    }
    check_nothing_left(&parent, &work_dir, &pids);
}

#[tokio::test]
async fn a_supervisor_told_to_stop_leaves_nothing() {
    if skipped("a_supervisor_told_to_stop_leaves_nothing").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let work_dir = folder.path().join("work");
    let parent = format!("ballast-test-stop-{}", std::process::id());
    let args = ["--cgroup-parent", &parent, "--work-dir", work_dir.to_str().unwrap()];
    for signal in [Some(Signal::SIGTERM), Some(Signal::SIGINT), None] {
        let mut up = Up::start(&args);
        let pids = up.children();
        assert_eq!(pids.len(), 11);
        let (code, _, stderr) = finish(testbed(&[&["up"][..], &args[..]].concat()));
        assert_eq!(code, 5, "a second one of that name: {stderr}");
        assert!(stderr.contains("sweep"), "{stderr}");
        match signal {
            Some(signal) => kill(Pid::from_raw(up.process.id().cast_signed()), signal).unwrap(),
            None => drop(up.stdin.take()),
        }
        assert_eq!(up.process.wait().unwrap().code(), Some(0), "{signal:?}");
        check_nothing_left(&parent, &work_dir, &pids);
    }
}

#[test]
fn the_death_of_a_service_ends_the_testbed() {
    if skipped("the_death_of_a_service_ends_the_testbed").is_some() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let work_dir = folder.path().join("work");
    let parent = format!("ballast-test-death-{}", std::process::id());
    let mut up = Up::start(&["--cgroup-parent", &parent, "--work-dir", work_dir.to_str().unwrap()]);
    let pids = up.children();
    let geo = cgroup(&format!("{parent}/geo")).unwrap().pids().unwrap();
    kill(Pid::from_raw(geo[0].cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(up.process.wait().unwrap().code(), Some(1));
    check_nothing_left(&parent, &work_dir, &pids);
}
