//! Bad input to `ballast`: each a sentence that says what to do, a code of its own, and nothing half done.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::TcpListener, path::Path, process::Output};

use ballast_tests::program;
use tokio::process::Command;

const CONFIG: &str = r#"
    node = "http://127.0.0.1:NODE_PORT"
    policy = "nowhere"
    [[objective]]
    request = "GET /hotels"
    percentile = 99.0
    target_ms = 200.0
"#;

async fn ballast(arguments: &[&str]) -> Output {
    Command::new(program("ballast")).args(arguments).output().await.unwrap()
}

/// The exit code and the sentence; a sentence is one line that begins with the program's name.
fn told(output: &Output) -> (i32, String) {
    let sentence = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!sentence.contains("panicked"), "{sentence}");
    (output.status.code().unwrap(), sentence)
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn run_with(folder: &Path, config: &str) -> (i32, String) {
    let path = folder.join("ballast.toml");
    std::fs::write(&path, config).unwrap();
    told(&ballast(&["run", "--config", path.to_str().unwrap()]).await)
}

#[tokio::test]
async fn a_wrong_command_line_is_code_2() {
    for arguments in [
        &["fly"][..],
        &["train", "--env", "chess"],
        &["train", "--env", "simulated"],
        &["status", "--nod", "x"],
    ] {
        assert_eq!(told(&ballast(arguments).await).0, 2, "{arguments:?}");
    }
}

#[tokio::test]
async fn wrong_names_and_values_are_code_3_and_named() {
    let (code, sentence) = told(
        &ballast(&["train", "--env", "simulated", "--topology", "motel", "--out", "/nonexistent/x"]).await,
    );
    assert_eq!(code, 3, "{sentence}");
    assert!(sentence.contains("motel") && sentence.contains("hotel-reservation"), "{sentence}");

    let (code, sentence) = told(&ballast(&["status", "--node", "localhost"]).await);
    assert_eq!(code, 3, "{sentence}");

    let folder = tempfile::tempdir().unwrap();
    for (wrong, right, word) in [
        ("polcy = \"x\"\npolicy", "policy", "polcy"),
        ("target_ms = -200.0", "target_ms = 200.0", "target latency"),
        ("percentile = 990.0", "percentile = 99.0", "percentile"),
    ] {
        let (code, sentence) = run_with(folder.path(), &CONFIG.replace(right, wrong)).await;
        assert_eq!(code, 3, "{sentence}");
        assert!(sentence.contains(word), "{sentence}");
    }
    let (code, sentence) = run_with(folder.path(), CONFIG).await;
    assert_eq!((code, sentence.contains("nowhere")), (3, true), "{sentence}");
}

#[tokio::test]
async fn an_unreachable_node_is_code_4() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let (code, sentence) = told(&ballast(&["status", "--node", &url]).await);
    assert_eq!(code, 4, "{sentence}");
    assert!(sentence.contains(&url) && sentence.contains("refused"), "{sentence}");
}

#[tokio::test]
async fn a_dead_redis_is_code_5() {
    let store = format!("redis://127.0.0.1:{}", free_port());
    let arguments = ["collect", "--node", "n1", "--env-server", "http://127.0.0.1:1", "--store", &store];
    let (code, sentence) = told(&ballast(&arguments).await);
    assert_eq!(code, 5, "{sentence}");
    let (code, sentence) = told(
        &ballast(&["collect", "--node", "n1", "--env-server", "http://127.0.0.1:1", "--store", "rediss//x"])
            .await,
    );
    assert_eq!(code, 3, "{sentence}");
}
