//! One conformance suite for every `NodeAgent`: a real node over HTTP, the same in process, and the simulator.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod linux;
mod plans;
mod simulated;
// The file of the env-server's own tests.
#[path = "../../../env-server/tests/support/unwritable.rs"]
mod unwritable;

use ballast_api::HttpNode;
use conformance::conforms;
use linux::{EnvServer, InProcess, Linux, on_a_host};
use simulated::Simulated;

#[tokio::test]
async fn the_simulated_node_conforms() {
    let simulated = Simulated::new();
    conforms(&simulated.node(), &simulated).await;
}

#[test]
fn the_real_node_in_process_conforms() {
    on_a_host("the_real_node_in_process_conforms", async |containers| {
        let node = InProcess::open(&containers);
        node.while_kept(conforms(node.agent(), &Linux::of(&containers))).await;
        assert!(node.agent().close().await.is_empty());
    });
}

#[test]
fn end_to_end_a_real_node_over_http_conforms() {
    on_a_host("end_to_end_a_real_node_over_http_conforms", async |containers| {
        let server = EnvServer::start(&containers).await;
        conforms(&HttpNode::new(&server.url).unwrap(), &Linux::of(&containers)).await;
    });
}
