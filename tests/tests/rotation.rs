//! Tokens and certificates are replaced under a running controller and a running node: control goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ballast_api::{NodeAgent, NodeError};
use ballast_controller::operate::NodeFiles;
use ballast_kernel::{CgroupTree, Hierarchy};
use ballast_tests::{program, real_or_skip};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// Puts a file in place at once, for its owner alone.
fn put(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&draft, path).unwrap();
}

/// A certificate that `ca` signed and its key, under this name.
fn put_signed(
    folder: &Path,
    who: &str,
    ca: &CertifiedIssuer<'_, KeyPair>,
    name: SanType,
    purpose: ExtendedKeyUsagePurpose,
) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    put(&folder.join(format!("{who}.key")), &key.serialize_pem());
    put(&folder.join(format!("{who}.pem")), &params.signed_by(&key, ca).unwrap().pem());
}

/// Everything anew: the CA, the certificates of both sides, and the token.
fn put_all(folder: &Path, token: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let node = SanType::IpAddress([127, 0, 0, 1].into());
    let act = SanType::URI("ballast:act".try_into().unwrap());
    put_signed(folder, "node", &ca, node, ExtendedKeyUsagePurpose::ServerAuth);
    put_signed(folder, "controller", &ca, act, ExtendedKeyUsagePurpose::ClientAuth);
    put(&folder.join("ca.pem"), &ca.pem());
    put(&folder.join("node.token"), token);
    put(&folder.join("controller.token"), token);
}

/// The env-server and where it listens.
async fn start(folder: &Path, parent: &str) -> (Child, String) {
    let mut command = Command::new(program("ballast-env-server"));
    command.args([
        "--node",
        "n1",
        "--listen",
        "127.0.0.1:0",
        "--until-stdin-closes",
        "--cgroup-parent",
        parent,
    ]);
    command.arg("--state-dir").arg(folder.join("state"));
    for (option, file) in [
        ("--act-token-file", "node.token"),
        ("--tls-cert-file", "node.pem"),
        ("--tls-key-file", "node.key"),
        ("--tls-client-ca-file", "ca.pem"),
    ] {
        command.arg(option).arg(folder.join(file));
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = timeout(Duration::from_secs(10), lines.next_line()).await.unwrap().unwrap().unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    (child, ready["listening"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_controller_lives_on_when_token_and_certificates_are_replaced() {
    if !real_or_skip("a_controller_lives_on_when_token_and_certificates_are_replaced") {
        return;
    }
    let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap());
    let parent = tree.create(&format!("ballast-test-{}-rotation", std::process::id())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    put_all(folder.path(), "act-old-0123456789\n");
    let (mut server, url) = start(folder.path(), parent.path().as_str()).await;
    let file = |name: &str| -> Option<PathBuf> { Some(folder.path().join(name)) };
    let files = NodeFiles {
        token_file: file("controller.token"),
        ca_file: file("ca.pem"),
        cert_file: file("controller.pem"),
        key_file: file("controller.key"),
    };
    let controller = files.client(&url).unwrap();
    controller.node().await.unwrap();

    put_all(folder.path(), "act-new-0123456789\n");
    // The node may look a moment later than the controller.
    let mut answer = controller.node().await;
    for _ in 0..100 {
        if answer.is_ok() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        answer = controller.node().await;
    }
    answer.unwrap();
    // What is shown is what the file holds now.
    put(&folder.path().join("controller.token"), "act-odd-0123456789\n");
    let refused = controller.node().await.unwrap_err();
    assert!(matches!(refused, NodeError::Unauthenticated { .. }), "{refused}");

    drop(server.stdin.take());
    assert!(timeout(Duration::from_secs(20), server.wait()).await.unwrap().unwrap().success());
    parent.remove().unwrap();
}
