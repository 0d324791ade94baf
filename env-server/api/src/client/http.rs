//! Calls of a program of Ballast over HTTP: JSON there and back, within bounds of time and length.
//!
//! Must not know any call.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use url::Url;

use super::Credentials;
use crate::{causes::with_causes, node::NodeError};

/// How long a node may take to answer: longer than any plan takes, shorter than a step of the controller times three.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection is kept for the next call: less than an env-server keeps it, so that no call meets its end.
const IDLE: Duration = Duration::from_secs(3);

/// The largest answer accepted, in bytes: ten thousand containers fit.
pub(super) const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Somebody at a base URL such as `http://127.0.0.1:7400`.
#[derive(Debug, Clone)]
pub(super) struct Http {
    base: Url,
    authorization: Option<header::HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Http {
    /// Somebody at `base_url`, which may lie under a path of another server. Nothing is sent yet.
    pub(super) fn new(base_url: &str, credentials: &Credentials) -> Result<Self, NodeError> {
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
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self { base, authorization: credentials.authorization().map_err(invalid)?, client })
    }

    pub(super) fn url(&self) -> &Url {
        &self.base
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, NodeError> {
        self.call(Method::GET, segments, None).await
    }

    pub(super) async fn delete<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, NodeError> {
        self.call(Method::DELETE, segments, None).await
    }

    /// Sends `body` as JSON.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> Result<T, NodeError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| NodeError::Invalid { problems: vec![error.to_string()] })?;
        self.call(method, segments, Some(body)).await
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
            self.client.request(request).await.map_err(|error| self.unreachable(with_causes(&error)))?;
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
