//! The node's calls over HTTP: routes, status codes, and errors that are always a [`NodeError`].
//!
//! Must not know what is behind the [`NodeAgent`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use ballast_api::{ContainerName, ContainerState, Limits, NodeAgent, NodeError, NodeInfo, Plan, PlanOutcome};

use crate::metrics::Metrics;

/// The longest body accepted: a plan for a thousand containers fits.
const MAX_BODY_BYTES: usize = 256 << 10;

const CALLS: &str = "GET /v1/node, GET /v1/containers, POST /v1/plans, DELETE /v1/containers/NAME/limits, GET \
                     /healthz, GET /metrics";

#[derive(Clone)]
struct Served {
    node: Arc<dyn NodeAgent>,
    metrics: Arc<Metrics>,
}

/// An error on its way out.
struct Refusal(StatusCode, NodeError);

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        let status = match error {
            NodeError::UnknownContainer { .. } => StatusCode::NOT_FOUND,
            NodeError::StaleGeneration { .. } => StatusCode::CONFLICT,
            NodeError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            NodeError::WriteFailed { .. }
            | NodeError::Internal { .. }
            | NodeError::Unreachable { .. }
            | NodeError::Protocol { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

fn invalid(status: StatusCode, problem: String) -> Refusal {
    Refusal(status, NodeError::Invalid { problems: vec![problem] })
}

/// The routes of one node.
pub fn router(node: Arc<dyn NodeAgent>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/v1/node", get(node_info))
        .route("/v1/containers", get(containers))
        .route("/v1/plans", post(apply))
        .route("/v1/containers/{name}/limits", delete(restore))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(render_metrics))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Served { node, metrics })
}

async fn node_info(State(served): State<Served>) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(served.node.node().await?))
}

async fn containers(State(served): State<Served>) -> Result<Json<Vec<ContainerState>>, Refusal> {
    Ok(Json(served.node.containers().await?))
}

/// Only `application/json` is taken: a page in somebody's browser cannot send that here without being asked first.
async fn apply(
    State(served): State<Served>,
    plan: Result<Json<Plan>, JsonRejection>,
) -> Result<Json<PlanOutcome>, Refusal> {
    let Json(plan) = plan.map_err(|rejection| invalid(rejection.status(), rejection.body_text()))?;
    Ok(Json(served.node.apply(&plan).await?))
}

async fn restore(State(served): State<Served>, Path(name): Path<String>) -> Result<Json<Limits>, Refusal> {
    let name = ContainerName::new(name)
        .map_err(|error| invalid(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))?;
    Ok(Json(served.node.restore(&name).await?))
}

async fn render_metrics(State(served): State<Served>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], served.metrics.render())
}

async fn unknown_path(uri: Uri) -> Refusal {
    invalid(StatusCode::NOT_FOUND, format!("there is no {}; there are: {CALLS}", uri.path()))
}

async fn unknown_method(method: Method, uri: Uri) -> Refusal {
    let problem = format!("{method} does not go with {}; there are: {CALLS}", uri.path());
    invalid(StatusCode::METHOD_NOT_ALLOWED, problem)
}

#[cfg(test)]
mod tests;
