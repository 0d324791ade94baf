//! The real program on real cgroups: whatever ends it, every limit comes back. Needs root; what does not is marked so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Output},
    time::Duration,
};

use ballast_api::{Cores, HttpNode, Limit, LimitChange, Limits, NodeAgent, NodeError, Plan};
use ballast_env_server::privileges::KEPT;
use nix::sys::signal::Signal;
use support::{Busy, Scratch, Server, cores, name};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ballast-env-server");

fn plan(changes: &[(&str, Limit<Cores>)], lease_seconds: f64) -> Plan {
    let change = |(container, limit): &(&str, Limit<Cores>)| LimitChange {
        container: name(container),
        limits: Limits::of_cpu(*limit),
    };
    Plan { generation: 1, lease_seconds, dry_run: false, changes: changes.iter().map(change).collect() }
}

/// Lends `geo` 0.2 cores and `rate` 0.3, and sees them in force.
async fn lend(scratch: &Scratch, server: &Server, lease_seconds: f64) {
    let plan = plan(&[("geo", cores(0.2)), ("rate", cores(0.3))], lease_seconds);
    server.node().apply(&plan).await.unwrap();
    assert_eq!(limits(scratch), (cores(0.2), cores(0.3)));
}

fn limits(scratch: &Scratch) -> (Limit<Cores>, Limit<Cores>) {
    (scratch.cpu("geo").limit().unwrap(), scratch.cpu("rate").limit().unwrap())
}

const BASELINES: fn() -> (Limit<Cores>, Limit<Cores>) = || (Limit::Max, cores(0.5));

#[tokio::test]
async fn after_kill_9_the_next_start_restores() {
    let Some(scratch) = Scratch::new("after_kill_9_the_next_start_restores") else { return };
    let mut server = Server::start(&scratch, &[]);
    lend(&scratch, &server, 3600.0).await;
    server.signal(Signal::SIGKILL);
    assert!(!server.wait().success());
    assert_eq!(limits(&scratch), (cores(0.2), cores(0.3)), "nobody was there to restore");
    let server = Server::start(&scratch, &[]);
    assert_eq!(limits(&scratch), BASELINES(), "before it serves");
    let states = server.node().containers().await.unwrap();
    assert!(states.iter().all(|state| state.lease_remaining_seconds.is_none()));
}

#[tokio::test]
async fn after_kill_9_the_restore_command_restores() {
    let Some(scratch) = Scratch::new("after_kill_9_the_restore_command_restores") else { return };
    let mut server = Server::start(&scratch, &[]);
    lend(&scratch, &server, 3600.0).await;
    // A file that would not do for serving says where the journal is.
    let config = scratch.state_dir().with_file_name("c.toml");
    fs::write(&config, format!("listn = 1\nstate_dir = {:?}", scratch.state_dir())).unwrap();
    let restore = || {
        let command =
            Command::new(PROGRAM).arg("restore").arg("--json").arg("--config").arg(&config).output();
        let Output { status, stdout, .. } = command.unwrap();
        (status.code(), String::from_utf8(stdout).unwrap())
    };
    assert_eq!(restore().0, Some(5), "not beside a server that is at work");
    server.signal(Signal::SIGKILL);
    server.wait();
    assert_eq!(restore(), (Some(0), "{\"failed\":[],\"restored\":2}\n".to_owned()));
    assert_eq!(limits(&scratch), BASELINES());
    assert_eq!(restore(), (Some(0), "{\"failed\":[],\"restored\":0}\n".to_owned()));
}

#[tokio::test]
async fn a_signal_restores_and_ends_well() {
    let Some(scratch) = Scratch::new("a_signal_restores_and_ends_well") else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut server = Server::start(&scratch, &[]);
        lend(&scratch, &server, 3600.0).await;
        server.signal(signal);
        assert!(server.wait().success(), "{signal}");
        assert_eq!(limits(&scratch), BASELINES(), "{signal}");
    }
}

#[tokio::test]
async fn the_end_of_standard_input_restores_where_it_is_asked_for() {
    let Some(scratch) = Scratch::new("the_end_of_standard_input_restores_where_it_is_asked_for") else {
        return;
    };
    let mut server = Server::start(&scratch, &["--until-stdin-closes"]);
    lend(&scratch, &server, 3600.0).await;
    server.close_stdin();
    assert!(server.wait().success());
    assert_eq!(limits(&scratch), BASELINES());
}

#[tokio::test]
async fn a_lease_that_ends_restores() {
    let Some(scratch) = Scratch::new("a_lease_that_ends_restores") else { return };
    let server = Server::start(&scratch, &[]);
    // Long enough for a busy machine to look at the limits in between.
    lend(&scratch, &server, 2.0).await;
    for _ in 0..200 {
        if limits(&scratch) == BASELINES() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(limits(&scratch), BASELINES());
    assert_eq!(server.node().containers().await.unwrap()[0].generation, 1);
}

#[tokio::test]
async fn more_than_the_parent_has_is_refused_before_anything_is_written() {
    let test = "more_than_the_parent_has_is_refused_before_anything_is_written";
    let Some(scratch) = Scratch::new(test) else { return };
    let server = Server::start(&scratch, &[]);
    scratch.parent_cpu().set_limit(cores(0.6)).unwrap();
    let before = limits(&scratch);
    let refused = server.node().apply(&plan(&[("geo", cores(0.1)), ("rate", cores(0.8))], 60.0)).await;
    let Err(NodeError::Invalid { problems }) = refused else { panic!("{refused:?}") };
    assert!(problems.len() == 1 && problems[0].starts_with("rate: 0.8"), "{problems:?}");
    assert_eq!(limits(&scratch), before);
    server.node().apply(&plan(&[("rate", cores(0.6))], 60.0)).await.unwrap();
}

/// A quota that is lent holds a busy process back, and the usage reported says so.
#[tokio::test]
async fn a_lent_quota_is_what_a_busy_process_gets() {
    let Some(scratch) = Scratch::new("a_lent_quota_is_what_a_busy_process_gets") else { return };
    let server = Server::start(&scratch, &["--sample-interval", "2s"]);
    let busy = Busy::start();
    scratch.attach("geo", busy.pid());
    server.node().apply(&plan(&[("geo", cores(0.2))], 60.0)).await.unwrap();
    // The first interval began before the quota.
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The machine may give it less for a while when it is loaded, never more: as often as it takes, at most eight times.
    let mut seen = Vec::new();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let geo = server.node().containers().await.unwrap().remove(0);
        let (usage, share) = (geo.usage.unwrap().cpu.unwrap().get(), geo.throttling.unwrap().throttled_share);
        seen.push((usage, share));
        assert!(usage < 0.22, "more than the 0.2 that are lent: {seen:?}");
        if usage > 0.18 && share > 0.8 {
            return;
        }
    }
    panic!("less than the 0.2 that are lent: {seen:?}");
}

fn fails(arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert!(stdout.is_empty(), "it must not say that it is ready");
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

/// Needs no root.
#[test]
fn wrong_flags_are_all_told_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (config, state) = (folder.path().join("c.toml"), folder.path().join("state"));
    fs::write(&config, "listn = '127.0.0.1:1'\ncgroup_parents = ['/docker']").unwrap();
    let (config, state_dir) = (config.to_str().unwrap(), state.to_str().unwrap());
    let (code, told) =
        fails(&["--config", config, "--listen", "0.0.0.0:7400", "--node", "a/b", "--state-dir", state_dir]);
    assert_eq!(code, 2);
    for part in ["listn", "/docker", "other machines", "a/b"] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    assert_eq!(fails(&["--frobnicate"]).0, 2);
    assert_eq!(fails(&["--config", "/nowhere.toml"]).0, 2);
    assert!(!state.exists());
}

#[tokio::test]
async fn every_obstacle_has_its_exit_code_and_a_sentence() {
    let Some(scratch) = Scratch::new("every_obstacle_has_its_exit_code_and_a_sentence") else { return };
    let server = Server::start(&scratch, &[]);
    let parent = scratch.parent();
    let state = scratch.state_dir();
    let other_state = state.parent().unwrap().join("other");
    let (state, other_state) = (state.to_str().unwrap(), other_state.to_str().unwrap());
    let start = |listen: &str, state: &str| {
        fails(&["--cgroup-parent", &parent, "--listen", listen, "--state-dir", state])
    };
    let (code, told) = start(server.address(), other_state);
    assert!(code == 3 && told.contains("another program"), "{code} {told}");
    assert!(!fs::exists(other_state).unwrap());
    let (code, told) = start("127.0.0.1:0", state);
    assert!(code == 5 && told.contains("in use"), "{code} {told}");
    fs::create_dir(other_state).unwrap();
    fs::set_permissions(other_state, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(format!("{other_state}/journal.json"), "{\"version\":").unwrap();
    let (code, told) = start("127.0.0.1:0", other_state);
    assert!(code == 6 && told.contains("delete the file"), "{code} {told}");
    assert_eq!(fails(&["restore", "--state-dir", "/nowhere"]).0, 5);
}

#[test]
fn without_permission_it_says_so() {
    let Some(scratch) = Scratch::new("without_permission_it_says_so") else { return };
    // The program may lie in a folder that others cannot enter: a copy can be run by anyone.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("ballast-env-server");
    fs::copy(PROGRAM, &copy).unwrap();
    let output = Command::new(copy)
        .args(["--cgroup-parent", &scratch.parent(), "--listen", "127.0.0.1:0", "--state-dir", "/nowhere"])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(4) && told.contains("run as root"), "{:?} {told}", output.status);
}

#[tokio::test]
async fn containers_come_and_go() {
    let Some(scratch) = Scratch::new("containers_come_and_go") else { return };
    let server = Server::start(&scratch, &["--sample-interval", "100ms"]);
    let node: HttpNode = server.node();
    let names = async || -> Vec<String> {
        node.containers().await.unwrap().into_iter().map(|state| state.name.to_string()).collect()
    };
    assert_eq!(names().await, ["geo", "rate"]);
    scratch.add("search");
    assert_eq!(names().await, ["geo", "rate", "search"]);
    node.apply(&plan(&[("search", cores(0.2))], 3600.0)).await.unwrap();
    scratch.remove("search");
    assert_eq!(names().await, ["geo", "rate"]);
    scratch.add("search");
    let search = node.containers().await.unwrap().remove(2);
    assert_eq!((search.limits.cpu, search.generation), (Some(Limit::Max), 0), "another container");
    assert_eq!(node.restore(&name("search")).await.unwrap().cpu, Some(Limit::Max));
}

#[test]
fn every_thread_keeps_only_the_rights_it_needs() {
    let Some(scratch) = Scratch::new("every_thread_keeps_only_the_rights_it_needs") else { return };
    let server = Server::start(&scratch, &[]);
    let needed: u64 = KEPT.iter().map(|(capability, _)| 1 << capability.index()).sum();
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", server.id())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
        };
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(field(set) & !needed, 0, "{set} in {status}");
        }
        assert_eq!((field("CapInh"), field("CapAmb"), field("NoNewPrivs")), (0, 0, 1), "{status}");
        threads += 1;
    }
    assert!(threads > 1, "the runtime's threads count too");
}

#[tokio::test]
async fn beyond_loopback_a_token_is_demanded() {
    let Some(scratch) = Scratch::new("beyond_loopback_a_token_is_demanded") else { return };
    let token = scratch.state_dir().with_file_name("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let (parent, path) = (scratch.parent(), token.to_str().unwrap());
    let everywhere = ["--cgroup-parent", &parent, "--listen", "0.0.0.0:0"];
    let (code, told) = fails(&everywhere);
    assert!(code == 2 && told.contains("--act-token-file"), "{code} {told}");
    let (code, told) = fails(&[&everywhere[..], &["--act-token-file", path]].concat());
    assert!(code == 2 && told.contains("chmod 600"), "{code} {told}");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&scratch, &["--act-token-file", path, "--listen", "0.0.0.0:0"]);
    let refused = server.node().containers().await.unwrap_err();
    assert!(matches!(refused, NodeError::Unauthenticated { .. }), "{refused}");
}
