//! What the real env-server and the real injector answer is what the OpenAPI documents that they serve say: schemathesis, a
//! program made for that, looks for a request of which this is not so. Needs root; scripts/test fetches schemathesis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod injector;
mod node;
mod started;

use std::{path::Path, time::Duration};

use ballast_tests::{cgroups_or_skip, real_or_skip};
use injector::{Injector, Target};
use node::{Containers, Node};
use tokio::{process::Command, time::timeout};

const TOKEN: &str = "act-0123456789abcdef";
/// Longer than a run takes on a slow machine that does much else.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::test]
async fn end_to_end_schemathesis_finds_no_failure_without_tokens() {
    finds_no_failure("end_to_end_schemathesis_finds_no_failure_without_tokens", "open", None).await;
}

#[tokio::test]
async fn end_to_end_schemathesis_finds_no_failure_with_tokens() {
    finds_no_failure("end_to_end_schemathesis_finds_no_failure_with_tokens", "closed", Some(TOKEN)).await;
}

#[tokio::test]
async fn end_to_end_schemathesis_finds_no_failure_of_the_injector() {
    let test = "end_to_end_schemathesis_finds_no_failure_of_the_injector";
    let Some(schemathesis) = schemathesis(test).filter(|_| cgroups_or_skip(test)) else { return };
    let (target, folder) = (Target::create("injector"), tempfile::tempdir().unwrap());
    let injector = Injector::start(&target, folder.path(), Some(TOKEN)).await;

    let mut asked = Asked::new(&schemathesis, "injector", &injector.url, Some(TOKEN));
    asked.0.env("BALLAST_TEST_TARGET", target.path());
    // What DELETE takes away is the contention: a campaign that was called off can still be asked about.
    asked.0.args(["--exclude-checks", "use_after_free"]);
    println!("{}", asked.finds_no_failure(folder.path()).await);
    let completed = injector.completed();
    println!("{completed} injections were carried out");
    assert!(completed > 0, "what a campaign that begins answers was not looked at");

    assert_eq!(injector.end().await, 0, "something is left in the journal");
    assert!(target.is_alone(), "something is left in the target");
}

#[expect(clippy::disallowed_methods, reason = "scripts/test says where the program is")]
fn schemathesis(test: &str) -> Option<String> {
    let program = std::env::var("BALLAST_TEST_SCHEMATHESIS").ok();
    if program.is_none() {
        eprintln!(
            "SKIPPED {test}: set BALLAST_TEST_SCHEMATHESIS to the program that scripts/lib/schemathesis.sh prints"
        );
    }
    program
}

async fn finds_no_failure(test: &str, run: &str, token: Option<&str>) {
    let Some(schemathesis) = schemathesis(test).filter(|_| real_or_skip(test)) else { return };
    let (containers, folder) = (Containers::create(run), tempfile::tempdir().unwrap());
    let node = Node::start(&containers, folder.path(), token).await;
    let before = (node.limits().await, containers.cpu_limits());

    println!("{}", Asked::new(&schemathesis, "node", &node.url, token).finds_no_failure(folder.path()).await);
    assert!(node.has_lent().await, "no plan was accepted: what an accepted one answers was not looked at");

    node.let_leases_end().await;
    assert_eq!((node.limits().await, containers.cpu_limits()), before, "something stayed lent");
    node.end().await;
    assert_eq!(containers.cpu_limits(), before.1);
}

/// A call of schemathesis with all of its checks.
struct Asked(Command);

impl Asked {
    /// With the configuration and the hooks of this name.
    fn new(schemathesis: &str, name: &str, url: &str, token: Option<&str>) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract");
        let mut command = Command::new(schemathesis);
        command.env("SCHEMATHESIS_HOOKS", here.join(format!("{name}_hooks.py")));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.arg("--no-color").arg("--config-file").arg(here.join(format!("{name}.toml"))).arg("run");
        command.arg(format!("{url}/v1/openapi.json")).args(["--checks", "all", "--continue-on-failure"]);
        // Unless it is asked for, the call that serves the document is left out.
        command.args(["--include-path-regex", "/"]);
        if let Some(token) = token {
            command.arg("--header").arg(format!("Authorization: Bearer {token}"));
        }
        Self(command)
    }

    /// Its own words when it found nothing.
    async fn finds_no_failure(mut self, folder: &Path) -> String {
        let output = self.0.current_dir(folder).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await.unwrap().unwrap();
        let [told, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{}: {told}\n{errors}", output.status);
        told.into_owned()
    }
}
