//! The calls as a client sees them, in front of a lender on a fake machine.

use std::time::Duration;

use ballast_api::{Cores, HttpNode, Limit, LimitChange, NodeName, SystemClock};
use reqwest::Client;
use tokio::net::TcpListener;

use super::*;
use crate::{
    discovery::Discovery,
    fake::{FakeMachine, cores, name},
    journal::Journal,
    lender::Means,
    node::LinuxNode,
};

struct Server {
    machine: FakeMachine,
    url: String,
}

/// Serves one container, `geo`, until the test's runtime ends.
async fn serve() -> Server {
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
    tokio::spawn(async move { axum::serve(listener, router(Arc::new(node), metrics)).await });
    Server { machine, url }
}

fn plan(container: &str, limit: Limit<Cores>) -> Plan {
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
        (422, refused(plans().json(&serde_json::json!({ "generation": -1 }))).await),
        (400, refused(plans().header("content-type", "application/json").body("{")).await),
        (415, refused(plans().body("{}")).await),
        (413, refused(plans().json(&"x".repeat(MAX_BODY_BYTES))).await),
        (404, refused(http.get(format!("{url}/v1/nodes"))).await),
        (405, refused(http.put(format!("{url}/v1/plans"))).await),
        (404, refused(http.delete(format!("{url}/v1/containers/rate/limits"))).await),
        (422, refused(http.delete(format!("{url}/v1/containers/..%2fgeo/limits"))).await),
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
    assert_eq!(status, 422);
    assert!(error.to_string().contains("changes[0]"), "{error}");
}

#[tokio::test]
async fn liveness_and_metrics_are_served() {
    let server = serve().await;
    let text =
        async |path| Client::new().get(format!("{}{path}", server.url)).send().await.unwrap().text().await;
    assert_eq!(text("/healthz").await.unwrap(), "ok\n");
    assert!(text("/metrics").await.unwrap().contains("# TYPE ballast_containers gauge"));
}
