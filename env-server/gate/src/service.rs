//! A service behind the gate: its own calls, and those that every service answers beside them.
//!
//! Must not know what a service's own calls do.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::{OpenApi, openapi::OpenApi as Document};

use crate::{
    access::Access,
    admission::{OPEN, guard},
    metrics::Metrics,
    refusal::{Refusal, invalid},
};

const METRICS: &str = "/metrics";
const DOCUMENT: &str = "/v1/openapi.json";

/// The paths of what every service answers, all to GET.
pub const SHARED: [&str; 3] = [OPEN, METRICS, DOCUMENT];

/// A service.
pub struct Service {
    /// Its own calls.
    pub calls: Router,
    /// The same in words, for whoever asks for what is not there.
    pub list: &'static str,
    /// What is said of all its calls, by [`crate::document::complete`].
    pub document: Document,
    /// What it counts, as Prometheus reads it (OpenMetrics 1.0).
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
}

impl Service {
    /// All that is answered, to those whom `access` lets in. Requests must say who their [`crate::Peer`] is, as those of
    /// [`crate::connections`] do.
    pub fn guarded(self, access: Arc<Access>, metrics: Metrics) -> Router {
        guard(self.routes(), access, metrics)
    }

    fn routes(self) -> Router {
        let Self { calls, list, document, metrics } = self;
        let shared = Router::new()
            .route(OPEN, get(healthz))
            .route(METRICS, get(render_metrics))
            .route(DOCUMENT, get(document_of))
            .with_state(Arc::new(Shared { document, metrics }));
        let there_are = move || format!("there are: {list}, GET {}", SHARED.join(", GET "));
        calls
            .merge(shared)
            .fallback(async move |uri: Uri| {
                let problem = format!("there is no {}; {}", uri.path(), there_are());
                invalid(StatusCode::NOT_FOUND, problem)
            })
            .method_not_allowed_fallback(async move |method: Method, uri: Uri| -> Refusal {
                let problem = format!("{method} does not go with {}; {}", uri.path(), there_are());
                invalid(StatusCode::METHOD_NOT_ALLOWED, problem)
            })
    }
}

struct Shared {
    document: Document,
    metrics: Box<dyn Fn() -> String + Send + Sync>,
}

/// Whether somebody is there; whoever can connect may ask.
#[utoipa::path(get, path = OPEN, responses((status = 200, body = String, description = "The word ok")))]
async fn healthz() -> &'static str {
    "ok\n"
}

/// What the service counts about itself, for Prometheus.
#[utoipa::path(
    get,
    path = METRICS,
    responses((status = 200, body = String, content_type = "application/openmetrics-text", description = "OpenMetrics 1.0"))
)]
async fn render_metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (shared.metrics)())
}

/// This document.
#[utoipa::path(
    get,
    path = DOCUMENT,
    operation_id = "serve",
    responses((status = 200, body = Object, content_type = "application/json", description = "This document"))
)]
async fn document_of(State(shared): State<Arc<Shared>>) -> Response {
    Json(&shared.document).into_response()
}

#[derive(OpenApi)]
#[openapi(paths(healthz, render_metrics, document_of))]
struct Api;

/// Adds what every service answers to the document `api` of the service that is called `name`, under the tags of its own calls.
pub(crate) fn describe(api: &mut Document, name: &str) {
    let own = api.paths.paths.values().find_map(|item| item.get.as_ref()?.tags.clone());
    let mut shared = Api::openapi();
    for path in [OPEN, METRICS] {
        if let Some(get) = shared.paths.paths.get_mut(path).and_then(|item| item.get.as_mut()) {
            get.tags.clone_from(&own);
        }
    }
    if let Some(get) = shared.paths.paths.get_mut(METRICS).and_then(|item| item.get.as_mut()) {
        get.summary = Some(format!("What the {name} counts about itself, for Prometheus."));
    }
    api.merge(shared);
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request};
    use http_body_util::BodyExt;
    use tower::Service as _;

    use super::*;

    fn router() -> Router {
        let (calls, document) = (Router::new().route("/v1/own", get(async || "own")), Api::openapi());
        Service { calls, list: "GET /v1/own", document, metrics: Box::new(|| "# EOF\n".to_owned()) }.routes()
    }

    async fn ask(method: Method, path: &str) -> (u16, String, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = router().call(request).await.unwrap();
        let (status, kind) = (answer.status().as_u16(), answer.headers()[header::CONTENT_TYPE].clone());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, kind.to_str().unwrap().to_owned(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_service_answers_what_is_shared_and_its_own() {
        for (path, kind, begins) in [
            ("/v1/own", "text/plain", "own"),
            (OPEN, "text/plain", "ok\n"),
            (METRICS, "application/openmetrics-text; version=1.0.0", "# EOF\n"),
            (DOCUMENT, "application/json", "{\"openapi\""),
        ] {
            let (status, told_kind, told) = ask(Method::GET, path).await;
            assert_eq!(status, 200, "{path}");
            assert!(told_kind.starts_with(kind) && told.starts_with(begins), "{path}: {told_kind} {told}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_told_with_all_that_is() {
        let all = "there are: GET /v1/own, GET /healthz, GET /metrics, GET /v1/openapi.json";
        for (method, path, status, why) in [
            (Method::GET, "/v1/other", 404, "there is no /v1/other"),
            (Method::PUT, "/v1/own", 405, "PUT does not go with /v1/own"),
            (Method::DELETE, METRICS, 405, "DELETE does not go with /metrics"),
        ] {
            let (told_status, _, told) = ask(method, path).await;
            assert_eq!(told_status, status, "{path}");
            assert!(told.contains(&format!("{why}; {all}")), "{told}");
        }
    }

    #[test]
    fn what_is_shared_is_documented_in_the_words_of_the_service() {
        let mut api = Document::default();
        describe(&mut api, "toaster");
        let mut shared = SHARED.to_vec();
        shared.sort_unstable();
        assert_eq!(api.paths.paths.keys().collect::<Vec<_>>(), shared);
        let summary = api.paths.paths[METRICS].get.as_ref().unwrap().summary.as_deref();
        assert_eq!(summary, Some("What the toaster counts about itself, for Prometheus."));
    }
}
