//! A node over HTTP for as long as a controller lives: a token or certificate that is replaced is taken over.
//!
//! Must not know what the files hold.

use std::sync::Arc;

use async_trait::async_trait;
use ballast_api::{
    ContainerName, ContainerState, HttpNode, Limits, NodeAgent, NodeError, NodeInfo, Plan, PlanOutcome,
    files::Watched,
};
use tracing::{error, info};

use super::NodeFiles;

/// A client of one env-server. Its files are looked at before each call, which is one system call for each; those that
/// cannot be used are told once, and what they held before stays in force.
pub struct NodeClient {
    url: String,
    node: Watched<HttpNode>,
}

impl NodeClient {
    pub(super) fn open(url: &str, files: &NodeFiles) -> Result<Self, Vec<String>> {
        let (url, files) = (url.to_owned(), files.clone());
        let (paths, target) = (files.paths(), url.clone());
        let node = Watched::open(paths, Box::new(move || files.read(&target)))?;
        Ok(Self { url, node })
    }

    /// The address of the env-server, as it was given.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// With what the files hold now. Its connections are its own: one that an old certificate opened is not used again.
    fn current(&self) -> Arc<HttpNode> {
        match self.node.look() {
            None => {}
            Some(Ok(())) => info!(url = self.url, "files changed and were read again"),
            Some(Err(problems)) => error!(
                url = self.url,
                problems = problems.join("; "),
                "files changed and cannot be used: the last good ones stay in force"
            ),
        }
        self.node.get()
    }
}

#[async_trait]
impl NodeAgent for NodeClient {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        self.current().node().await
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        self.current().containers().await
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        self.current().apply(plan).await
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        self.current().restore(container).await
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use axum::{
        Json, Router,
        http::{HeaderMap, StatusCode},
        routing::get,
    };

    use super::*;

    /// Under the old name at once, as careful programs replace a file.
    fn put(path: &Path, text: &str) {
        let draft = path.with_extension("draft");
        fs::write(&draft, text).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&draft, path).unwrap();
    }

    /// Answers with an error that repeats who was shown.
    async fn mirror() -> String {
        let answer = |headers: HeaderMap| async move {
            let detail = headers["authorization"].to_str().unwrap().to_owned();
            (StatusCode::UNAUTHORIZED, Json(NodeError::Unauthenticated { detail }))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/v1/containers", get(answer))).await
        });
        url
    }

    #[tokio::test]
    async fn a_token_that_is_replaced_is_shown_from_the_next_call_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        put(&path, "old-0123456789abc\n");
        let files = NodeFiles { token_file: Some(path.clone()), ..NodeFiles::default() };
        let client = files.client(&mirror().await).unwrap();
        let shown = async || match client.containers().await {
            Err(NodeError::Unauthenticated { detail }) => detail,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown().await, "Bearer old-0123456789abc");
        put(&path, "new-0123456789abc\n");
        assert_eq!(shown().await, "Bearer new-0123456789abc");
        put(&path, "two words\n");
        assert_eq!(shown().await, "Bearer new-0123456789abc");
        fs::remove_file(&path).unwrap();
        assert_eq!(shown().await, "Bearer new-0123456789abc");
        put(&path, "last-0123456789ab\n");
        assert_eq!(shown().await, "Bearer last-0123456789ab");
    }
}
