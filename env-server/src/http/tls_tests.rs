//! Mutual TLS as a client sees it: who gets in, as what, and what happens when certificates change.

use std::{fs, path::PathBuf, time::Duration};

use ballast_api::{Credentials, HttpNode};
use ballast_gate::{AccessSettings, TlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

use super::{
    tests::{ACT, OBSERVE, plan, secret, serve_with, with_tokens},
    *,
};
use crate::fake::cores;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate that `ca` signed, and its key, as PEM.
fn signed(ca: &Ca, name: SanType, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

fn node_certificate(ca: &Ca) -> (String, String) {
    signed(ca, SanType::IpAddress([127, 0, 0, 1].into()), ExtendedKeyUsagePurpose::ServerAuth)
}

fn named(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

/// Shows a certificate of `clients` with this name, and trusts `nodes`.
fn client(url: &str, nodes: &Ca, clients: &Ca, name: &str) -> HttpNode {
    let (certificate, key) = signed(clients, named(name), ExtendedKeyUsagePurpose::ClientAuth);
    let credentials = Credentials {
        token: None,
        ca: Some(nodes.pem().into()),
        certificate: Some(certificate.into()),
        key: Some(key.into()),
    };
    https(url, &credentials)
}

fn https(url: &str, credentials: &Credentials) -> HttpNode {
    HttpNode::with_credentials(&url.replace("http:", "https:"), credentials).unwrap()
}

fn put_node_certificate(folder: &tempfile::TempDir, ca: &Ca) -> (PathBuf, PathBuf) {
    let (certificate, key) = node_certificate(ca);
    (secret(folder, "cert.pem", &certificate), secret(folder, "key.pem", &key))
}

fn mutual(folder: &tempfile::TempDir, nodes: &Ca, clients: &Ca) -> AccessSettings {
    let (certificate, key) = put_node_certificate(folder, nodes);
    let client_ca = Some(secret(folder, "ca.pem", &clients.pem()));
    AccessSettings { tls: Some(TlsFiles { certificate, key, client_ca }), ..AccessSettings::default() }
}

#[tokio::test]
async fn a_certificate_gives_its_role() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let server = serve_with(&mutual(&folder, &nodes, &clients)).await;
    let client = |name: &str| client(&server.url, &nodes, &clients, name);
    client("ballast:act").apply(&plan("geo", cores(0.2))).await.unwrap();
    assert_eq!(server.machine.quota("p/geo"), "20000");
    // As rcgen makes them: until 4096.
    let told = server.metrics.render();
    assert!(told.contains("expiry_timestamp_seconds{files=\"Certificates\"} 67090118400\n"), "{told}");
    let observer = client("ballast:observe");
    assert_eq!(observer.containers().await.unwrap().len(), 1);
    let refused = observer.apply(&plan("geo", cores(0.3))).await.unwrap_err();
    assert!(matches!(refused, NodeError::Forbidden { .. }), "{refused}");
    for name in ["spiffe://cluster/somebody", "ballast:acts", "BALLAST:ACT"] {
        let refused = client(name).node().await.unwrap_err();
        assert!(refused.to_string().contains("names no role"), "{name}: {refused}");
    }
    assert_eq!(server.machine.quota("p/geo"), "20000");
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let server = serve_with(&mutual(&folder, &nodes, &clients)).await;
    let without = Credentials { ca: Some(nodes.pem().into()), ..Credentials::default() };
    let strangers = [
        ("another CA", client(&server.url, &nodes, &ca(), "ballast:act")),
        ("no certificate", https(&server.url, &without)),
        ("no TLS", HttpNode::new(&server.url).unwrap()),
        ("a node that it does not trust", client(&server.url, &ca(), &clients, "ballast:act")),
    ];
    for (who, stranger) in strangers {
        let refused = stranger.node().await.unwrap_err();
        assert!(matches!(refused, NodeError::Unreachable { .. }), "{who}: {refused}");
    }
    assert!(client(&server.url, &nodes, &clients, "ballast:act").node().await.is_ok());
    let told = server.metrics.render();
    assert!(!told.contains("cut_total{reason=\"Handshake\"} 0\n"), "{told}");
}

#[tokio::test]
async fn whom_nobody_vouches_for_any_more_is_gone_with_the_connection() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let server = serve_with(&mutual(&folder, &nodes, &clients)).await;
    let revoked = client(&server.url, &nodes, &clients, "ballast:act");
    revoked.apply(&plan("geo", cores(0.2))).await.unwrap();
    let later_clients = ca();
    secret(&folder, "ca.pem", &later_clients.pem());
    let mut answers = 0;
    // On the connection that it has kept, as long as it can.
    while revoked.node().await.is_ok() {
        answers += 1;
        assert!(answers < 100, "it still gets in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    revoked.apply(&plan("geo", cores(0.3))).await.unwrap_err();
    assert_eq!(server.machine.quota("p/geo"), "20000");
    client(&server.url, &nodes, &later_clients, "ballast:act").node().await.unwrap();
    assert!(server.metrics.render().contains("cut_total{reason=\"Revoked\"} 1\n"));
}

#[test]
fn a_certificate_is_declared_for_every_call() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let access = Access::open(&mutual(&folder, &nodes, &clients)).unwrap();
    let document = serde_json::to_value(openapi::of(&access)).unwrap();
    for path in ["~1healthz", "~1v1~1node"] {
        let security = document.pointer(&format!("/paths/{path}/get/security"));
        assert_eq!(security, Some(&serde_json::json!([{ "certificate": [] }])), "{path}");
    }
}

#[tokio::test]
async fn with_tokens_too_the_lesser_role_counts() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let settings =
        AccessSettings { tokens: with_tokens(&folder).tokens, ..mutual(&folder, &nodes, &clients) };
    let server = serve_with(&settings).await;
    let call = async |name: &str, token: Option<&str>| {
        let (certificate, key) = signed(&clients, named(name), ExtendedKeyUsagePurpose::ClientAuth);
        let credentials = Credentials {
            token: token.map(str::to_owned),
            ca: Some(nodes.pem().into()),
            certificate: Some(certificate.into()),
            key: Some(key.into()),
        };
        https(&server.url, &credentials).apply(&plan("geo", cores(0.2))).await
    };
    assert!(matches!(call("ballast:act", None).await, Err(NodeError::Unauthenticated { .. })));
    assert!(matches!(call("ballast:act", Some(OBSERVE)).await, Err(NodeError::Forbidden { .. })));
    assert!(matches!(call("ballast:observe", Some(ACT)).await, Err(NodeError::Forbidden { .. })));
    assert_eq!(server.machine.quota("p/geo"), "50000");
    call("ballast:act", Some(ACT)).await.unwrap();
}

#[tokio::test]
async fn new_certificates_are_taken_over_and_connections_live_on() {
    let (folder, nodes, clients) = (tempfile::tempdir().unwrap(), ca(), ca());
    let server = serve_with(&mutual(&folder, &nodes, &clients)).await;
    let old = client(&server.url, &nodes, &clients, "ballast:act");
    old.node().await.unwrap();
    let later_nodes = ca();
    put_node_certificate(&folder, &later_nodes);
    let new = || client(&server.url, &later_nodes, &clients, "ballast:act");
    let mut taken_over = false;
    for _ in 0..60 {
        // On the connection that it has kept: a new one would meet a CA that it does not know.
        old.node().await.unwrap();
        taken_over = new().node().await.is_ok();
        if taken_over {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(taken_over, "the new certificate was not taken over");
    old.node().await.unwrap();
    assert!(client(&server.url, &nodes, &clients, "ballast:act").node().await.is_err());
    // One that cannot be used changes nothing.
    secret(&folder, "cert.pem", "nothing");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    new().node().await.unwrap();
}

#[test]
fn every_file_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (secret(&folder, "c", "x"), secret(&folder, "k", "x"));
    let tls = TlsFiles { certificate, key: key.clone(), client_ca: Some("/nowhere".into()) };
    let settings = AccessSettings { tls: Some(tls), ..AccessSettings::default() };
    let problems = Access::open(&settings).err().unwrap();
    assert_eq!(problems.len(), 3, "{problems:?}");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(key, open).unwrap();
    assert!(Access::open(&settings).err().unwrap().join("; ").contains("chmod 600"));
}
