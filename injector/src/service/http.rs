//! The calls of the service: routes and status codes.
//!
//! Must not know how a campaign is run.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::StatusCode,
    routing::{get, put},
};
use ballast_api::{
    NodeError, SystemClock,
    injector::{
        CampaignLease, CampaignOrder, CampaignOutcome, CampaignState, InjectionRecord, InjectorInfo,
        LONGEST_LEASE_SECONDS, ScheduledInjection,
    },
};
use ballast_gate::{Access, Refusal, Service, invalid};
use tokio::time::timeout;

use super::{
    book::{Book, MOST_RUNNING},
    openapi,
    order::Order,
    rules::Rules,
    start::Starter,
};
use crate::campaign::Scheduled;

/// How long an answer waits for the end that it asked for: less than a client waits for the answer.
const END: Duration = Duration::from_millis(2500);

const CALLS: &str = "GET /v1/injector, GET and POST /v1/campaigns, GET and DELETE /v1/campaigns/ID, PUT \
                     /v1/campaigns/ID/lease, GET /v1/campaigns/ID/injections";

/// What is served.
#[derive(Clone)]
pub(super) struct Served {
    /// The node's name.
    pub(super) node: Arc<str>,
    pub(super) starter: Starter,
}

impl Served {
    fn book(&self) -> &Book {
        &self.starter.runner.book
    }
}

/// The routes, behind the gate.
pub(super) fn router(served: Served, access: Arc<Access>) -> Router {
    let (book, metrics) =
        (Arc::clone(&served.starter.runner.book), Arc::clone(&served.starter.runner.metrics));
    let gate = metrics.gate.clone();
    let calls = Router::new()
        .route("/v1/injector", get(info))
        .route("/v1/campaigns", get(campaigns).post(begin))
        .route("/v1/campaigns/{id}", get(campaign).delete(end))
        .route("/v1/campaigns/{id}/lease", put(renew))
        .route("/v1/campaigns/{id}/injections", get(injections))
        .with_state(served);
    let (document, metrics) = (openapi::of(&access), Box::new(move || metrics.render(book.running())));
    Service { calls, list: CALLS, document, metrics }.guarded(access, gate)
}

/// What may be injected here.
#[utoipa::path(get, path = "/v1/injector", responses((status = 200, body = InjectorInfo, description = "The injector")))]
pub(super) async fn info(State(served): State<Served>) -> Json<InjectorInfo> {
    let Rules { targets, whole_node } = &*served.starter.rules;
    Json(InjectorInfo {
        node: served.node.to_string(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        targets: targets.iter().map(ToString::to_string).collect(),
        whole_node: *whole_node,
        campaigns_at_a_time: MOST_RUNNING as u64,
    })
}

/// Those that run and the last ones that are over, the oldest first.
#[utoipa::path(
    get,
    path = "/v1/campaigns",
    responses((status = 200, body = Vec<CampaignState>, description = "The campaigns"))
)]
pub(super) async fn campaigns(State(served): State<Served>) -> Json<Vec<CampaignState>> {
    Json(served.book().all())
}

/// Begins a campaign. Every injection of it is checked before the first begins.
///
/// Only `application/json` is taken: a page in somebody's browser cannot send that here without being asked first.
#[utoipa::path(
    post,
    path = "/v1/campaigns",
    request_body(content = CampaignOrder, examples(
        ("dry" = (summary = "What a campaign would come to", value = json!({
            "campaign": "duration = \"1m\"\n[[injection]]\nat = \"5s\"\nduration = \"2s\"\nkind = \"pause\"\ntarget = \"shop/geo\"\n",
            "lease_seconds": 10,
            "dry_run": true
        })))
    )),
    responses(
        (
            status = 200,
            body = CampaignOutcome,
            description = "It has begun, or would for a dry run",
            links(
                ("state" = (operation_id = "campaign", parameters(("id" = "$response.body#/state/id")))),
                ("end" = (operation_id = "end", parameters(("id" = "$response.body#/state/id"))))
            )
        ),
        (status = 400, body = NodeError, description = "The body is no order: no JSON, or not as described here"),
        (status = 408, body = NodeError, description = "The body did not come in time"),
        (status = 409, body = NodeError, description = "As many campaigns run as may at a time"),
        (status = 413, body = NodeError, description = "The body is longer than 256 KiB"),
        (status = 415, body = NodeError, description = "The body is not said to be JSON"),
        (status = 422, body = NodeError, description = "It is no campaign, or not one that is taken here; the problems are named")
    )
)]
pub(super) async fn begin(
    State(served): State<Served>,
    request: Request,
) -> Result<Json<CampaignOutcome>, Refusal> {
    let CampaignOrder { campaign, seed, lease_seconds, dry_run } = ballast_gate::json(request).await?;
    let lease = lease_of(lease_seconds)?;
    let order = Order { campaign, seed };
    let campaign = served.starter.judge(&order).await?;
    let schedule = campaign.schedule.iter().map(scheduled).collect();
    if dry_run {
        return Ok(Json(CampaignOutcome { state: None, schedule }));
    }
    let begun = served.book().begin(&campaign.name, campaign.schedule.len(), lease, &SystemClock);
    let (number, id, heard) = begun.ok_or_else(|| {
        let problem = format!("{MOST_RUNNING} campaigns run already: end one of them, or wait");
        invalid(StatusCode::CONFLICT, problem)
    })?;
    served.starter.start(number, order, heard).await?;
    Ok(Json(CampaignOutcome { state: served.book().state(&id), schedule }))
}

/// What becomes of a campaign.
#[utoipa::path(
    get,
    path = "/v1/campaigns/{id}",
    params(("id" = String, Path, description = "The campaign's id")),
    responses(
        (status = 200, body = CampaignState, description = "The campaign"),
        (status = 404, body = NodeError, description = "There is none of that id, or no more")
    )
)]
pub(super) async fn campaign(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<CampaignState>, Refusal> {
    served.book().state(&id).map(Json).ok_or_else(|| unknown(&id))
}

/// What its injections that are over were: the ground truth, in the order of their ends.
#[utoipa::path(
    get,
    path = "/v1/campaigns/{id}/injections",
    params(("id" = String, Path, description = "The campaign's id")),
    responses(
        (status = 200, body = Vec<InjectionRecord>, description = "The injections that are over"),
        (status = 404, body = NodeError, description = "There is none of that id, or no more")
    )
)]
pub(super) async fn injections(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<Vec<InjectionRecord>>, Refusal> {
    served.book().records(&id).map(Json).ok_or_else(|| unknown(&id))
}

/// Lets a campaign go on for a while.
#[utoipa::path(
    put,
    path = "/v1/campaigns/{id}/lease",
    params(("id" = String, Path, description = "The campaign's id")),
    request_body(content = CampaignLease),
    responses(
        (status = 200, body = CampaignState, description = "The campaign"),
        (status = 400, body = NodeError, description = "The body is no lease: no JSON, or not as described here"),
        (status = 404, body = NodeError, description = "There is none of that id, or no more"),
        (status = 408, body = NodeError, description = "The body did not come in time"),
        (status = 413, body = NodeError, description = "The body is longer than 256 KiB"),
        (status = 415, body = NodeError, description = "The body is not said to be JSON"),
        (status = 422, body = NodeError, description = "It is too long or too short")
    )
)]
pub(super) async fn renew(
    State(served): State<Served>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<CampaignState>, Refusal> {
    let CampaignLease { lease_seconds } = ballast_gate::json(request).await?;
    served.book().renew(&id, lease_of(lease_seconds)?).map(Json).ok_or_else(|| unknown(&id))
}

/// Ends a campaign with all its injections, and answers when it is over, or after a while.
#[utoipa::path(
    delete,
    path = "/v1/campaigns/{id}",
    params(("id" = String, Path, description = "The campaign's id")),
    responses(
        (status = 200, body = CampaignState, description = "The campaign: over, or about to be"),
        (status = 404, body = NodeError, description = "There is none of that id, or no more")
    )
)]
pub(super) async fn end(
    State(served): State<Served>,
    Path(id): Path<String>,
) -> Result<Json<CampaignState>, Refusal> {
    let mut changes = served.book().call_off(&id).ok_or_else(|| unknown(&id))?;
    let is_over = || served.book().state(&id).is_none_or(|state| state.ended.is_some());
    // Answered also where the time is over: the state tells.
    let _ = timeout(END, async { while !is_over() && changes.changed().await.is_ok() {} }).await;
    served.book().state(&id).map(Json).ok_or_else(|| unknown(&id))
}

fn lease_of(seconds: f64) -> Result<Duration, Refusal> {
    let is_lease = seconds > 0.0 && seconds <= LONGEST_LEASE_SECONDS;
    Duration::try_from_secs_f64(seconds).ok().filter(|_| is_lease).ok_or_else(|| {
        let problem =
            format!("lease_seconds must be more than 0 and at most {LONGEST_LEASE_SECONDS}, not {seconds}");
        NodeError::Invalid { problems: vec![problem] }.into()
    })
}

fn scheduled(injection: &Scheduled) -> ScheduledInjection {
    ScheduledInjection {
        number: injection.number as u64,
        at_ms: injection.at_ms,
        duration_ms: injection.duration_ms,
        arguments: injection.arguments(),
    }
}

fn unknown(id: &str) -> Refusal {
    invalid(StatusCode::NOT_FOUND, format!("there is no campaign {id:?} here, or no more"))
}
