//! `ballast status` as a person and a program meet it: several nodes, some of which do not answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{process::Output, time::Duration};

use ballast_tests::program;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

const NODE: &str = r#"{"name":"n1","software_version":"0.1.0","cgroup_version":"v2","capacity":{"cpu":2.0},
    "capabilities":{"cpu":{"status":"available","mechanism":"CFS quota"},
        "llc":{"status":"unavailable","reason":"not mounted\u001b[2J"}}}"#;
const CONTAINERS: &str = r#"[{"name":"geo","usage":{"cpu":0.05},"throttling":null,"limits":{"cpu":0.2},
    "baseline":{"cpu":"max"},"sampled_at_unix_nanos":0,"generation":7,"lease_remaining_seconds":8.4}]"#;
const FAILS: (u16, &str) = (500, r#"{"error":"internal","detail":"the disk is full"}"#);
const REFUSES: (u16, &str) = (401, r#"{"error":"unauthenticated","detail":"send a token"}"#);

type Answer = (u16, &'static str);

/// A node that answers so, at the URL returned, until the test's runtime ends.
async fn node(info: Answer, containers: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, info, containers));
        }
    });
    url
}

async fn answer(mut stream: TcpStream, info: Answer, containers: Answer) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let asks_for_containers = head.starts_with(b"GET /v1/containers ");
    let (status, body) = if asks_for_containers { containers } else { info };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

async fn good_node() -> String {
    node((200, NODE), (200, CONTAINERS)).await
}

/// An address at which nobody listens.
async fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
}

fn status(arguments: &[&str]) -> Command {
    let mut command = Command::new(program("ballast"));
    command.arg("status").args(arguments).kill_on_drop(true);
    command
}

/// The exit code, standard output and standard error.
async fn told(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = status(arguments).output().await.unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code().unwrap(), stdout, stderr)
}

#[tokio::test]
async fn a_node_that_does_not_answer_hides_no_other() {
    let (good, gone) = (good_node().await, nobody().await);
    let (code, shown, errors) = told(&["--node", &gone, "--node", &good]).await;
    assert_eq!(code, 4, "{errors}");
    assert!(errors.contains(&gone) && errors.contains("refused"), "{errors}");
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(shown.starts_with(&format!("node n1 at {good}, ")), "{shown}");
    // A node commands no terminal.
    assert_eq!(words[3], ["llc", "not", "available:", "not", "mounted[2J"]);
    assert_eq!(words[6][..7], ["geo", "cpu,", "cores", "0.050", "0.200", "max", "8"]);
    assert!(words[6].ends_with(&["s", "ago"]), "{shown}");

    let (code, json, _) = told(&["--json", "--node", &gone, "--node", &good]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let nodes = json["nodes"].as_array().unwrap();
    assert_eq!((code, nodes.len()), (4, 2));
    assert_eq!((&nodes[0]["url"], &nodes[0]["error"]["error"]), (&gone.into(), &"unreachable".into()));
    assert_eq!((&nodes[1]["node"]["name"], &nodes[1]["error"]), (&"n1".into(), &serde_json::Value::Null));
    assert_eq!(nodes[1]["containers"][0]["limits"]["cpu"], 0.2);
}

#[tokio::test]
async fn a_node_that_lets_nobody_in_is_code_7_and_half_an_answer_is_shown() {
    let (closed, half) = (node(REFUSES, REFUSES).await, node((200, NODE), FAILS).await);
    let (code, shown, errors) = told(&["--node", &half, "--node", &closed]).await;
    assert_eq!(code, 7, "{errors}");
    assert!(errors.contains(&format!("{closed}: ")) && errors.contains("send a token"), "{errors}");
    assert!(shown.contains("node n1") && shown.contains("CFS quota"), "{shown}");
    let (code, _, errors) = told(&["--node", &half]).await;
    assert_eq!(
        (code, errors),
        (1, format!("ballast: {half}: the node cannot do this now: the disk is full\n"))
    );
}

#[tokio::test]
async fn nodes_are_taken_from_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ballast.toml");
    let path = path.to_str().unwrap();
    let objective = "[[objective]]\nrequest = \"GET /hotels\"\npercentile = 99.0\ntarget_ms = 200.0";
    let config = format!("node = \"{}\"\npolicy = \"nowhere\"\n{objective}", good_node().await);
    std::fs::write(path, &config).unwrap();
    let (code, shown, errors) = told(&["--config", path, "--config", path]).await;
    assert_eq!((code, shown.matches("node n1").count()), (0, 2), "{errors}");
    assert_eq!(told(&["--config", path, "--node", "http://127.0.0.1:1"]).await.0, 2);
    std::fs::write(path, format!("token_file = \"/nowhere/token\"\n{config}")).unwrap();
    let (code, _, errors) = told(&["--config", path]).await;
    assert!(code == 3 && errors.contains("/nowhere/token"), "{code} {errors}");
}

#[tokio::test]
async fn a_watch_goes_on_without_a_node_and_ends_in_order() {
    let gone = nobody().await;
    let mut watching = status(&["--json", "--watch", "0.1", "--node", &gone]);
    watching.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut watching = watching.spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains("unreachable"), "{line}");
    }
    kill(Pid::from_raw(i32::try_from(watching.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    let ended = timeout(Duration::from_secs(20), watching.wait()).await.unwrap().unwrap();
    assert_eq!(ended.code(), Some(0));
}
