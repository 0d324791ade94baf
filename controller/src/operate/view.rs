//! What nodes say of themselves, all asked at the same time: one that does not answer costs its own part alone.
//!
//! Must not know how it is shown.

use ballast_api::{ContainerState, NodeAgent, NodeError, NodeInfo};
use futures::future::join_all;
use serde::Serialize;

use super::NodeClient;

/// One node, as far as it answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeView {
    /// Where it was asked.
    pub url: String,
    /// What it is and can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeInfo>,
    /// Its containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<ContainerState>>,
    /// Why something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<NodeError>,
}

/// All nodes, in the order given. Takes no longer than the slowest may take to answer one call.
pub async fn view(nodes: &[NodeClient]) -> Vec<NodeView> {
    join_all(nodes.iter().map(|node| view_one(node.url(), node))).await
}

async fn view_one(url: &str, agent: &dyn NodeAgent) -> NodeView {
    let (node, containers) = tokio::join!(agent.node(), agent.containers());
    // Who does not answer one question seldom has another reason for the next.
    let error = node.as_ref().err().or(containers.as_ref().err()).cloned();
    NodeView { url: url.to_owned(), node: node.ok(), containers: containers.ok(), error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Json, Router, http::StatusCode, routing::get};
    use ballast_api::{Amounts, CgroupVersion, NodeName, PerResource};
    use tokio::{net::TcpListener, time::Instant};

    use super::*;
    use crate::operate::NodeFiles;

    fn client(listener: &TcpListener) -> NodeClient {
        let url = format!("http://{}", listener.local_addr().unwrap());
        NodeFiles::default().client(&url).unwrap()
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    /// A node that answers so; its server ends with the test's runtime.
    async fn serve(router: Router) -> NodeClient {
        let listener = listener().await;
        let client = client(&listener);
        tokio::spawn(async move { axum::serve(listener, router).await });
        client
    }

    fn info() -> NodeInfo {
        NodeInfo {
            name: NodeName::new("n1").unwrap(),
            software_version: "0.1.0".to_owned(),
            cgroup_version: CgroupVersion::V2,
            capacity: Amounts::default(),
            capabilities: PerResource::default(),
        }
    }

    fn failing() -> NodeError {
        NodeError::Internal { detail: "the disk is full".to_owned() }
    }

    #[tokio::test]
    async fn each_node_is_shown_as_far_as_it_answers() {
        let node = || get(|| async { Json(info()) });
        let containers = get(|| async { Json(Vec::<ContainerState>::new()) });
        let fails = get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, Json(failing())) });
        let whole = Router::new().route("/v1/node", node()).route("/v1/containers", containers);
        let half = Router::new().route("/v1/node", node()).route("/v1/containers", fails);
        let gone = client(&listener().await);
        let views = view(&[serve(whole).await, gone, serve(half).await]).await;
        let known = |view: &NodeView| (view.node.is_some(), view.containers.is_some());
        assert_eq!(
            views.iter().map(known).collect::<Vec<_>>(),
            [(true, true), (false, false), (true, false)]
        );
        assert_eq!((&views[0].error, &views[2].error), (&None, &Some(failing())));
        assert!(matches!(views[1].error, Some(NodeError::Unreachable { .. })), "{:?}", views[1]);
        let json = serde_json::to_value(&views).unwrap();
        assert_eq!(json[0]["containers"], serde_json::json!([]));
        assert_eq!(
            (&json[2]["node"]["name"], &json[2]["error"]["error"]),
            (&"n1".into(), &"internal".into())
        );
    }

    #[tokio::test]
    async fn nodes_that_never_answer_are_waited_for_together() {
        let silent = [listener().await, listener().await, listener().await];
        let nodes: Vec<NodeClient> = silent.iter().map(client).collect();
        let began = Instant::now();
        let views = view(&nodes).await;
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        for view in views {
            assert!(view.error.unwrap().to_string().contains("no answer within"));
        }
    }
}
