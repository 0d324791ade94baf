//! A node reached over HTTP.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::Url;

pub use credentials::Credentials;

use crate::{
    causes::with_causes,
    names::ContainerName,
    node::{NodeAgent, NodeError},
    resource::Limits,
    wire::{ContainerState, NodeInfo, Plan, PlanOutcome},
};

mod credentials;

/// How long a node may take to answer: longer than any plan takes, shorter than a step of the controller times three.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection is kept for the next call: less than an env-server keeps it, so that no call meets its end.
const IDLE: Duration = Duration::from_secs(3);

/// The largest answer accepted, in bytes: ten thousand containers fit.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// An env-server at a base URL such as `http://127.0.0.1:7400`.
#[derive(Debug, Clone)]
pub struct HttpNode {
    base: Url,
    authorization: Option<header::HeaderValue>,
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

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
        let invalid = |detail: String| NodeError::Invalid {
            problems: vec![format!("node URL {base_url:?}: {detail}")],
        };
        let base = Url::parse(base_url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(invalid("it must look like http://127.0.0.1:7400".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() {
            // The URL is in every message: this one must not show it either.
            let problem = "a node URL must hold no user and no password: a token goes into a file of its own";
            return Err(NodeError::Invalid { problems: vec![problem.to_owned()] });
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(invalid("it must end before `?` and `#`".to_owned()));
        }
        let has_tls = credentials.ca.is_some() || credentials.certificate.is_some();
        match (base.scheme(), &credentials.ca) {
            ("https", None) => {
                return Err(invalid("https needs the CA that vouches for the node".to_owned()));
            }
            ("http", _) if has_tls => {
                return Err(invalid("certificates are of use only with https".to_owned()));
            }
            _ => {}
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(credentials.tls().map_err(invalid)?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { base, authorization: credentials.authorization().map_err(invalid)?, http })
    }

    /// The address of the env-server.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<T, NodeError> {
        let request = self.request(method, segments, body)?;
        let (status, body) = timeout(TIMEOUT, self.exchange(request))
            .await
            .map_err(|_| self.unreachable(format!("no answer within {} s", TIMEOUT.as_secs())))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|error| self.protocol(error.to_string()));
        }
        Err(serde_json::from_slice::<NodeError>(&body)
            .unwrap_or_else(|_| self.protocol(format!("status {status}"))))
    }

    fn request(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<Vec<u8>>,
    ) -> Result<Request<Full<Bytes>>, NodeError> {
        let mut url = self.base.clone();
        // A URL with a host always has path segments; the constructor has checked for the host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let mut request = Request::builder().method(method).uri(url.as_str());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|error| NodeError::Internal { detail: error.to_string() })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), NodeError> {
        let response =
            self.http.request(request).await.map_err(|error| self.unreachable(with_causes(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body =
            body.collect().await.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => self.protocol(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes")),
                false => self.unreachable(with_causes(error.as_ref())),
            })?;
        Ok((status, body.to_bytes()))
    }

    fn unreachable(&self, detail: String) -> NodeError {
        NodeError::Unreachable { url: self.base.to_string(), detail }
    }

    fn protocol(&self, detail: String) -> NodeError {
        NodeError::Protocol { url: self.base.to_string(), detail }
    }
}

#[async_trait]
impl NodeAgent for HttpNode {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        self.call(Method::GET, &["v1", "node"], None).await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        self.call(Method::GET, &["v1", "containers"], None).await
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        let body = serde_json::to_vec(plan)
            .map_err(|error| NodeError::Invalid { problems: vec![error.to_string()] })?;
        self.call(Method::POST, &["v1", "plans"], Some(body)).await
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        self.call(Method::DELETE, &["v1", "containers", container.as_str(), "limits"], None).await
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
