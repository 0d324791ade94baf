//! A node reached over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::{
    causes::with_causes,
    names::ContainerName,
    node::{NodeAgent, NodeError},
    resource::Limits,
    wire::{ContainerState, NodeInfo, Plan, PlanOutcome},
};

/// How long a node may take to answer: longer than any plan takes, shorter than a step of the controller times three.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The largest answer accepted, in bytes: ten thousand containers fit.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// An env-server at a base URL such as `http://127.0.0.1:7400`.
#[derive(Debug, Clone)]
pub struct HttpNode {
    base: Url,
    http: reqwest::Client,
}

impl HttpNode {
    /// A client for the env-server at `base_url`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the text is no `http` URL, or the HTTP client cannot be made.
    pub fn new(base_url: &str) -> Result<Self, NodeError> {
        let invalid = |detail: String| NodeError::Invalid {
            problems: vec![format!("node URL {base_url:?}: {detail}")],
        };
        let base = Url::parse(base_url).map_err(|error| invalid(error.to_string()))?;
        if base.scheme() != "http" || base.host().is_none() {
            return Err(invalid("it must look like http://127.0.0.1:7400".to_owned()));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| NodeError::Internal { detail: error.to_string() })?;
        Ok(Self { base, http })
    }

    /// The address of the env-server.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        // A URL with a host always has path segments; the constructor has checked for the host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        self.http.request(method, url)
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, NodeError> {
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.protocol(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()));
        }
        Err(serde_json::from_slice::<NodeError>(&body)
            .unwrap_or_else(|_| self.protocol(format!("status {status}"))))
    }

    fn unreachable(&self, error: &reqwest::Error) -> NodeError {
        NodeError::Unreachable { url: self.base.to_string(), detail: with_causes(error) }
    }

    fn protocol(&self, detail: String) -> NodeError {
        NodeError::Protocol { url: self.base.to_string(), detail }
    }
}

#[async_trait]
impl NodeAgent for HttpNode {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        self.call(self.request(Method::GET, &["v1", "node"])).await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        self.call(self.request(Method::GET, &["v1", "containers"])).await
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        self.call(self.request(Method::POST, &["v1", "plans"]).json(plan)).await
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        self.call(self.request(Method::DELETE, &["v1", "containers", container.as_str(), "limits"])).await
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::StatusCode, routing::get};

    use super::*;

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

    #[test]
    fn refuses_what_is_no_address() {
        for bad in ["", "localhost:7400", "ftp://x", "http://", "file:///etc"] {
            assert!(HttpNode::new(bad).is_err(), "{bad}");
        }
    }
}
