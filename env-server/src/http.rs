//! The node's calls over HTTP: routes, status codes, and errors that are always a [`NodeError`].
//!
//! Must not know what is behind the [`NodeAgent`].

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    routing::{delete, get, post},
};
use ballast_api::{ContainerName, ContainerState, Limits, NodeAgent, NodeError, NodeInfo, Plan, PlanOutcome};
use ballast_gate::{Access, Refusal, Service, invalid};

use crate::metrics::Metrics;

mod openapi;

const CALLS: &str = "GET /v1/node, GET /v1/containers, POST /v1/plans, DELETE /v1/containers/NAME/limits";

type Node = Arc<dyn NodeAgent>;

/// The routes of one node. Requests must say who their [`ballast_gate::Peer`] is, as those of [`ballast_gate::connections`] do.
pub fn router(node: Arc<dyn NodeAgent>, metrics: Arc<Metrics>, access: Arc<Access>) -> Router {
    let gate = metrics.gate.clone();
    let calls = Router::new()
        .route("/v1/node", get(node_info))
        .route("/v1/containers", get(containers))
        .route("/v1/plans", post(apply))
        .route("/v1/containers/{name}/limits", delete(restore))
        .with_state(node);
    let (document, metrics) = (openapi::of(&access), Box::new(move || metrics.render()));
    Service { calls, list: CALLS, document, metrics }.guarded(access, gate)
}

/// What the node is and can do.
#[utoipa::path(get, path = "/v1/node", responses((status = 200, body = NodeInfo, description = "The node")))]
async fn node_info(State(node): State<Node>) -> Result<Json<NodeInfo>, Refusal> {
    Ok(Json(node.node().await?))
}

/// Every container, in the order of their names.
#[utoipa::path(
    get,
    path = "/v1/containers",
    responses((
        status = 200,
        body = Vec<ContainerState>,
        description = "The containers",
        links(("restore" = (operation_id = "restore", parameters(("name" = "$response.body#/0/name")))))
    ))
)]
async fn containers(State(node): State<Node>) -> Result<Json<Vec<ContainerState>>, Refusal> {
    Ok(Json(node.containers().await?))
}

/// Lends limits. Everything is checked before the first write; a write that fails undoes those before it.
///
/// Only `application/json` is taken: a page in somebody's browser cannot send that here without being asked first.
#[utoipa::path(
    post,
    path = "/v1/plans",
    request_body(content = Plan, examples(
        ("cpu" = (summary = "Half a core for ten seconds", value = json!({
            "generation": 1,
            "lease_seconds": 10,
            "changes": [{ "container": "geo", "limits": { "cpu": 0.5 } }]
        }))),
        ("disk" = (summary = "Whether a disk limit would be taken", value = json!({
            "generation": 2,
            "lease_seconds": 0.5,
            "dry_run": true,
            "changes": [{ "container": "geo", "limits": { "cpu": "max", "disk": { "read": 5e6, "write": "max" } } }]
        })))
    )),
    responses(
        (status = 200, body = PlanOutcome, description = "What is in force now, or would be for a dry run"),
        (status = 400, body = NodeError, description = "The body is no plan: no JSON, or not as described here"),
        (status = 404, body = NodeError, description = "No container of that name is managed"),
        (status = 408, body = NodeError, description = "The body did not come in time"),
        (status = 409, body = NodeError, description = "A newer plan was accepted before"),
        (status = 413, body = NodeError, description = "The body is longer than 256 KiB"),
        (status = 415, body = NodeError, description = "The body is not said to be JSON"),
        (status = 422, body = NodeError, description = "This node cannot do it; every problem is named")
    )
)]
async fn apply(State(node): State<Node>, request: Request) -> Result<Json<PlanOutcome>, Refusal> {
    let plan: Plan = ballast_gate::json(request).await?;
    if plan.changes.len() > Plan::MAX_CHANGES {
        let problem = format!("a plan has {} changes at most: send several", Plan::MAX_CHANGES);
        return Err(invalid(StatusCode::BAD_REQUEST, problem));
    }
    Ok(Json(node.apply(&plan).await?))
}

/// Puts one container back to its baseline, and answers the limits in force then.
#[utoipa::path(
    delete,
    path = "/v1/containers/{name}/limits",
    params(("name" = ContainerName, Path, description = "The container's name")),
    responses(
        (status = 200, body = Limits, description = "The baseline is in force"),
        (status = 400, body = NodeError, description = "This cannot be a name"),
        (status = 404, body = NodeError, description = "No container of that name is managed")
    )
)]
async fn restore(
    State(node): State<Node>,
    name: Result<Path<ContainerName>, PathRejection>,
) -> Result<Json<Limits>, Refusal> {
    let Path(name) = name.map_err(|rejection| invalid(rejection.status(), rejection.body_text()))?;
    Ok(Json(node.restore(&name).await?))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
