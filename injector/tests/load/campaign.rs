//! A changed workload as a part of a campaign: it happens, is in the ground truth, and ends with the campaign.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_injector::clocks;
use nix::sys::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::{
    server::{OK, Reply, Server},
    shared::{self, PROGRAM, number, pause},
    support::count,
};

/// Longer than anything here takes on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// 200 requests/s of the service, uniform, from the campaign's begin on.
fn campaign(folder: &Path, server: &Server, duration: &str) -> Command {
    let file = folder.join("campaign.toml");
    let load = format!(
        "name = \"busy\"\nduration = \"1m\"\n\
         [[injection]]\nat = \"0s\"\nkind = \"load\"\nurl = \"{}\"\nintensity = \"200/s\"\n\
         duration = \"{duration}\"\noptions = {{ gaps = \"uniform\", header = [\"X-A: 1\", \"X-B: 2\"] }}\n",
        server.url()
    );
    fs::write(&file, load).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("campaign").arg(file).args(["--json", "--until-stdin-closes"]);
    command.arg("--state-dir").arg(folder.join("state")).arg("--log").arg(folder.join("truth.jsonl"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn truth(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("truth.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_planned_load_happens_and_is_the_ground_truth() {
    let server = Server::start(|_, head| {
        assert!(head.contains("X-A: 1\r\n") && head.contains("X-B: 2\r\n"), "{head}");
        Reply::keep(OK)
    });
    let folder = tempfile::tempdir().unwrap();
    // Standard input stays open: it is the child's.
    let child = campaign(folder.path(), &server, "1s").spawn().unwrap();
    let (code, told) = ended(child);
    assert_eq!(code, Some(0), "{told:?}");
    let events: Vec<_> = told.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["started", "ended", "campaign_ended"]);
    assert_eq!((&told[2]["completed"], &told[2]["failed"]), (&Value::from(1), &Value::from(0)));
    let [line] = truth(folder.path()).try_into().unwrap();
    let text = |key: &str| line[key].as_str().unwrap().to_owned();
    let who = ["label", "kind", "place", "target", "shape", "unit", "ending"].map(text);
    assert_eq!(who, ["busy#1", "load", "url", &server.url(), "constant", "requests", "completed"]);
    assert_eq!((count(&line["requested"]), number(&line["rate"])), (200, 200.0));
    assert_eq!(count(&line["achieved"]), count(&line["sent"]));
    assert_eq!(usize::try_from(count(&line["achieved"])).unwrap(), server.requests());
    let lasted = count(&line["ended_unix_nanos"]) - count(&line["started_unix_nanos"]);
    assert_eq!(lasted, 1_000_000_000);
    assert!(!folder.path().join("state").exists(), "a load has nothing to take back");
}

/// Waits until it has ended with standard input still open; its exit code and all that it said.
fn ended(mut child: Child) -> (Option<i32>, Vec<Value>) {
    let _stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines)
}

#[test]
fn whatever_ends_the_campaign_ends_the_load() {
    let server = Server::start(|_, _| Reply::keep(OK));
    for (asked, code) in [(Some(Signal::SIGINT), Some(7)), (Some(Signal::SIGKILL), None), (None, Some(0))] {
        let folder = tempfile::tempdir().unwrap();
        let before = server.requests();
        let mut child = campaign(folder.path(), &server, "10m").spawn().unwrap();
        await_true("it has begun", || server.requests() > before);
        match asked {
            Some(signal) => shared::signal(child.id(), signal),
            None => drop(child.stdin.take()),
        }
        let (ended, told) = ended(child);
        assert_eq!(ended, code, "{asked:?}: {told:?}");
        if asked != Some(Signal::SIGKILL) {
            let last = told.last().unwrap();
            assert_eq!(
                (&last["completed"], &last["failed"]),
                (&Value::from(0), &Value::from(1)),
                "{asked:?}"
            );
        }
        // The load outlives a campaign that is killed for a moment, and writes its line last.
        await_true("it is in the ground truth", || !truth(folder.path()).is_empty());
        let sent = server.requests();
        pause(Duration::from_millis(300));
        assert_eq!(server.requests(), sent, "{asked:?}: requests go on");
        let [line] = truth(folder.path()).try_into().unwrap();
        assert_eq!(line["ending"], "stdin_closed", "{asked:?}");
    }
}

/// Each injection is two open files of the campaign.
#[test]
fn one_that_cannot_be_started_is_told_and_those_that_run_are_waited_for() {
    const ASKED: usize = 8;
    let server = Server::start(|_, _| Reply::keep(OK));
    let folder = tempfile::tempdir().unwrap();
    let mut command = campaign(folder.path(), &server, "1s");
    let file = folder.path().join("campaign.toml");
    let text = fs::read_to_string(&file).unwrap().replace("at = \"0s\"", "at = \"500ms\"");
    let (head, load) = text.split_at(text.find("[[injection]]").unwrap());
    fs::write(&file, format!("{head}{}", load.repeat(ASKED))).unwrap();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let few = Rlimit { current: Some(14), maximum: Some(4096) };
    prlimit(Pid::from_raw(child.id().try_into().unwrap()), Resource::Nofile, few).unwrap();
    // Open until it has ended.
    let _stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(": cannot start an injection: Too many open files"), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ended = told.iter().filter(|line| line["ending"] == "completed").count();
    let last = told.last().unwrap();
    let counts = ["begun", "completed", "failed"].map(|key| usize::try_from(count(&last[key])).unwrap());
    assert!((1..ASKED).contains(&ended), "{errors}");
    assert_eq!(counts, [ended, ended, ASKED - ended], "{last}");
}

#[test]
fn a_program_that_is_replaced_goes_on_as_it_is() {
    let server = Server::start(|_, _| Reply::keep(OK));
    // Where the program is, so that it can have a second name.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let installed = folder.path().join("installed");
    fs::hard_link(PROGRAM, &installed).unwrap();
    let as_it_was = campaign(folder.path(), &server, "300ms");
    let file = folder.path().join("campaign.toml");
    let text = fs::read_to_string(&file).unwrap().replace("at = \"0s\"", "at = \"300ms\"");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(&installed);
    command.args(as_it_was.get_args()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    fs::remove_file(&installed).unwrap();
    let (code, told) = ended(child);
    assert_eq!(code, Some(0), "{told:?}");
    assert_eq!(told.last().unwrap()["completed"], 1, "{told:?}");
}

/// On a terminal, which `script` is for the program.
#[test]
fn one_progress_line_tells_what_is_achieved_at_the_moment() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let folder = tempfile::tempdir().unwrap();
    campaign(folder.path(), &server, "2500ms");
    let (file, state) = (folder.path().join("campaign.toml"), folder.path().join("state"));
    let asked =
        format!("stty cols 120; '{PROGRAM}' campaign '{}' --state-dir '{}'", file.display(), state.display());
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &asked, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let Ok(output) = terminal.output() else {
        eprintln!("SKIPPED one_progress_line_tells_what_is_achieved_at_the_moment: there is no `script`");
        return;
    };
    let drawn = String::from_utf8_lossy(&output.stdout);
    let told: Vec<_> = drawn.split("#1 load ").skip(1).map(|rest| rest.split("/s").next()).collect();
    let rates = told.iter().flatten().filter_map(|rate| rate.parse::<f64>().ok());
    assert!(rates.filter(|rate| (100.0..300.0).contains(rate)).count() > 0, "{drawn}");
    assert!(!drawn.contains(" left"), "the load draws a line of its own: {drawn}");
    assert!(drawn.contains("1 of 1 injections begun, 1 completed"), "{drawn}");
}

fn await_true(what: &str, condition: impl Fn() -> bool) {
    let end = clocks::monotonic() + PATIENCE;
    while !condition() {
        assert!(clocks::monotonic() < end, "not in time: {what}");
        pause(Duration::from_millis(5));
    }
}

#[test]
fn as_many_injections_as_are_allowed_are_judged_and_shown() {
    let random = "--random --kinds pause --targets a --each 1s --mean-gap 1800ms --overlap --duration 1day";
    let output =
        Command::new(PROGRAM).arg("campaign").args(random.split(' ')).arg("--dry-run").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap().lines().count();
    // 48,000 expected, with a deviation of 220.
    assert!((46_000..50_000).contains(&lines), "{lines}");
}

/// In a process of its own: what is freed of so much text stays with a test's, and others there measure what they hold.
#[test]
fn options_that_no_program_takes_are_a_problem_before_the_first_begins() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("campaign.toml");
    let header = format!("\"X: {}\",", "x".repeat(100 << 10));
    for (options, told) in [
        (format!("body = \"{}\"", "x".repeat(128 << 10)), "no program takes more than"),
        (format!("header = [{}]", header.repeat(20)), "bytes together"),
    ] {
        let head = "duration = \"1m\"\n[[injection]]\nat = \"0s\"\nduration = \"1s\"\nkind = \"load\"\n";
        let load = format!("url = \"http://127.0.0.1:8/\"\nintensity = \"5\"\noptions = {{ {options} }}\n");
        fs::write(&file, format!("{head}{load}")).unwrap();
        let output = Command::new(PROGRAM).arg("campaign").arg(&file).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(told) && errors.len() < 1000, "{told}: {errors}");
    }
}

#[test]
fn a_dry_run_shows_it_and_asks_nobody() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let folder = tempfile::tempdir().unwrap();
    let output = campaign(folder.path(), &server, "1s").arg("--dry-run").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["kind"], &line["place"]), (&Value::from("load"), &Value::from("url")));
    assert_eq!((&line["url"], &line["intensity"]), (&Value::from(server.url()), &Value::from("200/s")));
    let random =
        ["--random", "--kinds", "load=50..500", "--url", &server.url(), "--duration", "10m", "--dry-run"];
    let output = Command::new(PROGRAM).arg("campaign").args(random).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 5 && text.contains(&format!("url {}", server.url())), "{text}");
    assert_eq!(server.connections(), 0);
}
