//! Programs of Ballast reached over HTTP: a node's env-server, and its injector.

use async_trait::async_trait;
use hyper::Method;
use url::Url;

pub use credentials::Credentials;
pub use injector::HttpInjector;

use crate::{
    names::ContainerName,
    node::{NodeAgent, NodeError},
    resource::Limits,
    wire::{ContainerState, NodeInfo, Plan, PlanOutcome},
};
use http::Http;

mod credentials;
mod http;
mod injector;

/// An env-server at a base URL such as `http://127.0.0.1:7400`.
#[derive(Debug, Clone)]
pub struct HttpNode(Http);

impl HttpNode {
    /// A client for the env-server at `base_url`, with nothing to show. Nothing is sent yet.
    ///
    /// # Errors
    /// When the text is no `http` URL.
    pub fn new(base_url: &str) -> Result<Self, NodeError> {
        Self::with_credentials(base_url, &Credentials::default())
    }

    /// A client for the env-server at `base_url`, which may lie under a path of another server. Nothing is sent yet.
    ///
    /// # Errors
    /// When the text is no `http` or `https` URL, holds more than an address, or the credentials cannot be used.
    pub fn with_credentials(base_url: &str, credentials: &Credentials) -> Result<Self, NodeError> {
        Http::new(base_url, credentials).map(Self)
    }

    /// The address of the env-server.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.0.url()
    }
}

#[async_trait]
impl NodeAgent for HttpNode {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        self.0.get(&["v1", "node"]).await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        self.0.get(&["v1", "containers"]).await
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        self.0.send(Method::POST, &["v1", "plans"], plan).await
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        self.0.delete(&["v1", "containers", container.as_str(), "limits"]).await
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::StatusCode, routing::get};

    use super::{http::MAX_ANSWER_BYTES, *};

    /// Serves `router` on a free port and answers its URL; the server ends with the test's runtime.
    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_named_with_the_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = HttpNode::new(&url).unwrap().node().await.unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn an_error_of_the_node_comes_back_as_it_was() {
        let sent = NodeError::UnknownContainer { container: "geo".to_owned() };
        let body = sent.clone();
        let url = serve(
            Router::new()
                .route("/v1/containers", get(move || async move { (StatusCode::NOT_FOUND, Json(body)) })),
        )
        .await;
        assert_eq!(HttpNode::new(&url).unwrap().containers().await.unwrap_err(), sent);
    }

    #[tokio::test]
    async fn another_program_on_the_port_is_told_apart() {
        let url = serve(Router::new().route("/v1/node", get(|| async { "hello" }))).await;
        let error = HttpNode::new(&url).unwrap().node().await.unwrap_err();
        assert!(matches!(error, NodeError::Protocol { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_node_may_lie_under_a_path() {
        let missing = NodeError::UnknownContainer { container: "geo".to_owned() };
        let body = missing.clone();
        let answer = get(move || async move { (StatusCode::NOT_FOUND, Json(body)) });
        let url = serve(Router::new().route("/nodes/n1/v1/node", answer)).await;
        for base in [format!("{url}/nodes/n1"), format!("{url}/nodes/n1/")] {
            assert_eq!(HttpNode::new(&base).unwrap().node().await.unwrap_err(), missing, "{base}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_it() {
        let endless = || async { axum::body::Body::from(vec![b' '; MAX_ANSWER_BYTES + 1]) };
        let url = serve(Router::new().route("/v1/node", get(endless))).await;
        let error = HttpNode::new(&url).unwrap().node().await.unwrap_err().to_string();
        assert!(error.contains(&url) && error.contains("longer than"), "{error}");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "",
            "localhost:7400",
            "ftp://x",
            "http://",
            "file:///etc",
            "https://x",
            "http://x?y",
            "http://x#y",
        ] {
            assert!(HttpNode::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_no_secret() {
        let credentials = Credentials { token: Some("s3cret".to_owned()), ..Credentials::default() };
        let node = HttpNode::with_credentials("http://127.0.0.1:7400", &credentials).unwrap();
        assert!(!format!("{node:?}").contains("s3cret"));
        let told = HttpNode::new("http://me:s3cret@127.0.0.1:7400").unwrap_err();
        assert!(!format!("{told} {told:?}").contains("s3cret"), "{told}");
    }
}
