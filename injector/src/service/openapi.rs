//! The OpenAPI document of the calls, made from the handlers and the wire types.
//!
//! Must not know how calls are answered.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ballast_api::NodeError;
use ballast_gate::{Access, document};
use utoipa::{OpenApi, openapi::OpenApi as Document};

use super::http::{self, Served};

/// Where it is served.
pub(super) const PATH: &str = "/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ballast injector",
        description = "Runs campaigns of contention on this node, within what its operator allows. A campaign is lent: it ends \
                       when nobody renews it. Everything but /healthz asks for what the injector is configured to ask for: a \
                       bearer token, a client certificate, both, or nothing; this document says which."
    ),
    paths(
        http::info,
        http::campaigns,
        http::begin,
        http::campaign,
        http::injections,
        http::renew,
        http::end,
        http::healthz,
        http::render_metrics,
        serve
    ),
    components(schemas(NodeError))
)]
struct Api;

/// The document of an injector that asks for what `access` asks for.
pub(super) fn of(access: &Access) -> Document {
    document::complete(Api::openapi(), access)
}

/// This document.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, body = Object, content_type = "application/json", description = "This document"))
)]
pub(super) async fn serve(State(served): State<Served>) -> Response {
    Json(&*served.document).into_response()
}
