//! The calls as a client sees them, in front of a lender on a fake machine.

use std::{fs, num::NonZeroU32, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use ballast_api::{Cores, Credentials, HttpNode, Limit, LimitChange, NodeName, SystemClock};
use ballast_gate::{AccessSettings, MAX_BODY_BYTES, TokenFiles, connections};
use reqwest::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    discovery::Discovery,
    fake::{FakeMachine, cores, name},
    journal::Journal,
    lender::Means,
    node::LinuxNode,
};

pub(super) struct Server {
    pub(super) machine: FakeMachine,
    pub(super) metrics: Arc<Metrics>,
    pub(super) url: String,
}

/// Serves one container, `geo`, to everybody, until the test's runtime ends.
async fn serve() -> Server {
    serve_with(&AccessSettings::default()).await
}

pub(super) async fn serve_with(access: &AccessSettings) -> Server {
    let machine = FakeMachine::v2();
    machine.add("p/geo", "50000");
    let metrics = Arc::new(Metrics::default());
    let means = Means {
        machine: machine.machine(),
        discovery: Discovery::of_parents(&machine.parents(&["p"])),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
        journal: Journal::new(&machine.state_dir(), "boot"),
    };
    let node = LinuxNode::open(NodeName::new("n1").unwrap(), means).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let access = Arc::new(Access::open(access).unwrap());
    tokio::spawn(Arc::clone(&access).keep(metrics.gate.clone(), CancellationToken::new()));
    let router = router(Arc::new(node), metrics.clone(), Arc::clone(&access));
    tokio::spawn(connections::serve(
        listener,
        router,
        access,
        metrics.gate.clone(),
        CancellationToken::new(),
    ));
    Server { machine, metrics, url }
}

pub(super) fn plan(container: &str, limit: Limit<Cores>) -> Plan {
    let change = LimitChange { container: name(container), limits: Limits::of_cpu(limit) };
    Plan { generation: 2, lease_seconds: 10.0, dry_run: false, changes: vec![change] }
}

async fn refused(request: reqwest::RequestBuilder) -> (u16, NodeError) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_client_sees_the_node_as_it_is() {
    let server = serve().await;
    let node = HttpNode::new(&server.url).unwrap();
    assert_eq!(node.node().await.unwrap().name.as_str(), "n1");
    let outcome = node.apply(&plan("geo", cores(0.2))).await.unwrap();
    assert_eq!(outcome.applied[0].before, Limits::of_cpu(cores(0.5)));
    assert_eq!(server.machine.quota("p/geo"), "20000");
    let own = Some(cores(0.5));
    assert_eq!(node.containers().await.unwrap()[0].baseline.cpu, own);
    assert_eq!(node.restore(&name("geo")).await.unwrap().cpu, own);
    assert_eq!(server.machine.quota("p/geo"), "50000");
}

#[tokio::test]
async fn every_refusal_is_a_node_error_with_a_fitting_status() {
    let server = serve().await;
    let (http, url) = (Client::new(), &server.url);
    let node = HttpNode::new(url).unwrap();
    node.apply(&plan("geo", cores(0.2))).await.unwrap();
    let plans = || http.post(format!("{url}/v1/plans"));
    let mut older = plan("geo", cores(0.3));
    older.generation = 1;
    let refusals = [
        (404, refused(plans().json(&plan("rate", cores(0.3)))).await),
        (409, refused(plans().json(&older)).await),
        (422, refused(plans().json(&plan("geo", cores(99.0)))).await),
        (400, refused(plans().json(&serde_json::json!({ "generation": -1 }))).await),
        (400, refused(plans().header("content-type", "application/json").body("{")).await),
        (415, refused(plans().body("{}")).await),
        (413, refused(plans().json(&"x".repeat(MAX_BODY_BYTES))).await),
        (404, refused(http.get(format!("{url}/v1/nodes"))).await),
        (405, refused(http.put(format!("{url}/v1/plans"))).await),
        (404, refused(http.delete(format!("{url}/v1/containers/rate/limits"))).await),
        (400, refused(http.delete(format!("{url}/v1/containers/..%2fgeo/limits"))).await),
        (400, refused(http.delete(format!("{url}/v1/containers/%ff/limits"))).await),
        (400, refused(http.delete(format!("{url}/v1/containers/geo%00/limits"))).await),
    ];
    for (expected, (status, error)) in refusals {
        assert_eq!(status, expected, "{error}");
    }
    assert_eq!(server.machine.quota("p/geo"), "20000");
}

#[tokio::test]
async fn a_negative_limit_is_named_in_the_answer() {
    let server = serve().await;
    let body = serde_json::json!({
        "generation": 1, "lease_seconds": 1, "changes": [{ "container": "geo", "limits": { "cpu": -0.5 } }],
    });
    let (status, error) = refused(Client::new().post(format!("{}/v1/plans", server.url)).json(&body)).await;
    assert_eq!(status, 400);
    assert!(error.to_string().contains("changes[0]"), "{error}");
}

#[tokio::test]
async fn liveness_and_metrics_are_served() {
    let server = serve().await;
    let text =
        async |path| Client::new().get(format!("{}{path}", server.url)).send().await.unwrap().text().await;
    assert_eq!(text("/healthz").await.unwrap(), "ok\n");
    let document: serde_json::Value = serde_json::from_str(&text("/v1/openapi.json").await.unwrap()).unwrap();
    assert_eq!(document["info"]["title"], "Ballast env-server");
    assert!(text("/metrics").await.unwrap().contains("# TYPE ballast_containers gauge"));
}

pub(super) const OBSERVE: &str = "observe-0123456789";
pub(super) const ACT: &str = "act-0123456789abcd";

/// A file that only its owner reads, in a folder that must outlive it.
pub(super) fn secret(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let (path, draft) = (folder.path().join(name), folder.path().join("draft"));
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&draft, &path).unwrap();
    path
}

pub(super) fn with_tokens(folder: &tempfile::TempDir) -> AccessSettings {
    let tokens =
        TokenFiles { observe: Some(secret(folder, "o", OBSERVE)), act: Some(secret(folder, "a", ACT)) };
    AccessSettings { tokens, ..AccessSettings::default() }
}

fn client(url: &str, token: &str) -> HttpNode {
    let credentials = Credentials { token: Some(token.to_owned()), ..Credentials::default() };
    HttpNode::with_credentials(url, &credentials).unwrap()
}

#[tokio::test]
async fn without_a_known_token_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_with(&with_tokens(&folder)).await;
    let (http, url) = (Client::new(), &server.url);
    for path in ["/v1/node", "/v1/containers", "/metrics", "/nowhere"] {
        let get = || http.get(format!("{url}{path}"));
        let wrong = ["Bearer wrong-0123456789", "Basic YTpi", "Bearer ", "Bearer observe-012345678", OBSERVE];
        let wrong = wrong.into_iter().map(|header| get().header("authorization", header));
        for request in wrong.chain([get()]) {
            let answer = request.send().await.unwrap();
            assert_eq!((answer.status().as_u16(), path), (401, path));
            assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"ballast\"");
            let error: NodeError = answer.json().await.unwrap();
            assert!(matches!(error, NodeError::Unauthenticated { .. }), "{error}");
        }
    }
    assert_eq!(http.get(format!("{url}/healthz")).send().await.unwrap().status(), 200);
    let nobody = HttpNode::new(url).unwrap().apply(&plan("geo", cores(0.2))).await.unwrap_err();
    assert!(matches!(nobody, NodeError::Unauthenticated { .. }), "{nobody}");
    assert_eq!(server.machine.quota("p/geo"), "50000");
}

#[tokio::test]
async fn a_token_allows_what_its_role_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_with(&with_tokens(&folder)).await;
    let (observer, actor) = (client(&server.url, OBSERVE), client(&server.url, ACT));
    assert_eq!(observer.containers().await.unwrap().len(), 1);
    for refused in [
        observer.apply(&plan("geo", cores(0.2))).await.unwrap_err(),
        observer.restore(&name("geo")).await.unwrap_err(),
    ] {
        assert!(matches!(refused, NodeError::Forbidden { .. }), "{refused}");
    }
    assert_eq!(server.machine.quota("p/geo"), "50000");
    actor.apply(&plan("geo", cores(0.2))).await.unwrap();
    assert_eq!(server.machine.quota("p/geo"), "20000");
    let metrics = Client::new().get(format!("{}/metrics", server.url)).bearer_auth(OBSERVE);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for counted in ["refused_requests_total{reason=\"Role\"} 2", "requests_total{answer=\"ClientError\"} 2"] {
        assert!(metrics.contains(counted), "{counted} is missing in {metrics}");
    }
}

#[tokio::test]
async fn a_token_that_is_replaced_holds_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_with(&with_tokens(&folder)).await;
    let (before, after) = (client(&server.url, ACT), client(&server.url, "act-new-0123456789"));
    assert!(before.node().await.is_ok() && after.node().await.is_err());
    secret(&folder, "a", "act-new-0123456789\n");
    for _ in 0..100 {
        if after.node().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    after.node().await.unwrap();
    assert!(before.node().await.is_err());
    // A file that cannot be used changes nothing.
    secret(&folder, "a", "short");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    after.node().await.unwrap();
    let told = server.metrics.render();
    assert!(told.contains("ballast_reload_failures_total{files=\"Tokens\"} 1\n"), "{told}");
}

#[tokio::test]
async fn a_peer_that_asks_too_often_is_told_when_to_come_back() {
    let slow = AccessSettings { requests_per_second: NonZeroU32::MIN, ..AccessSettings::default() };
    let server = serve_with(&slow).await;
    let node = HttpNode::new(&server.url).unwrap();
    assert!(node.node().await.is_ok() && node.node().await.is_ok());
    let get = Client::new().get(format!("{}/v1/node", server.url));
    let answer = get.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    let error: NodeError = answer.json().await.unwrap();
    assert_eq!(error, NodeError::TooManyRequests { retry_after_seconds: 1 });
}

/// All that comes until the connection ends.
async fn told(url: &str, request: String) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    told
}

#[tokio::test]
async fn whoever_is_refused_loses_the_connection_and_learns_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_with(&with_tokens(&folder)).await;
    // The body comes whole, though nobody reads it: without that the answer would be lost.
    let body = "x".repeat(200_000);
    for (token, status) in [("wrong-0123456789ab", 401), (OBSERVE, 403)] {
        let head = format!("POST /v1/plans HTTP/1.1\r\nhost: n1\r\nauthorization: Bearer {token}\r\n");
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        let began = tokio::time::Instant::now();
        let told = told(&server.url, request).await;
        assert!(
            told.starts_with(&format!("HTTP/1.1 {status}")) && told.contains("connection: close"),
            "{told}"
        );
        assert!(began.elapsed() < Duration::from_secs(4), "it is not the time for a head that ended it");
    }
}

#[tokio::test]
async fn pages_in_a_browser_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [open, closed] = [serve().await, serve_with(&with_tokens(&folder)).await];
    let status = async |server: &Server, header: &str, value: &str| {
        let get = Client::new().get(format!("{}/v1/node", server.url)).bearer_auth(OBSERVE);
        get.header(header, value).send().await.unwrap().status().as_u16()
    };
    for (header, value, of_open, of_closed) in [
        ("host", "localhost:7400", 200, 200),
        ("host", "rebound.example", 403, 200),
        ("origin", "http://rebound.example", 403, 403),
        ("sec-fetch-site", "cross-site", 403, 403),
    ] {
        let answers = (status(&open, header, value).await, status(&closed, header, value).await);
        assert_eq!(answers, (of_open, of_closed), "{header}: {value}");
    }
    let probe = Client::new().get(format!("{}/healthz", open.url)).header("host", "n1.example");
    assert_eq!(probe.send().await.unwrap().status(), 200);
    assert!(open.metrics.render().contains("ballast_refused_requests_total{reason=\"Page\"} 3\n"));
}

#[tokio::test]
async fn a_plan_has_so_many_changes_at_most() {
    let server = serve().await;
    let changes = |number: usize| {
        let change = |i| serde_json::json!({ "container": format!("c{i}"), "limits": { "cpu": 0.2 } });
        let changes: Vec<_> = (0..number).map(change).collect();
        let body = serde_json::json!({ "generation": 1, "lease_seconds": 1, "changes": changes });
        refused(Client::new().post(format!("{}/v1/plans", server.url)).json(&body))
    };
    assert_eq!(changes(Plan::MAX_CHANGES).await.0, 404);
    let (status, error) = changes(Plan::MAX_CHANGES + 1).await;
    assert!(status == 400 && error.to_string().contains("1000"), "{status} {error}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = serve().await;
    let mut stream = tokio::net::TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /v1/plans HTTP/1.1\r\nhost: [::1]\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.contains("did not come within 5 s"), "{told}");
}
