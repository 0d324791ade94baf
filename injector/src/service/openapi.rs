//! The OpenAPI document of the calls, made from the handlers and the wire types.
//!
//! Must not know how calls are answered. What every service answers, and what every call may answer beside its own, is added by
//! the gate.

use ballast_api::NodeError;
use ballast_gate::{Access, document};
use utoipa::{OpenApi, openapi::OpenApi as Document};

use super::http;

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
        http::end
    ),
    components(schemas(NodeError))
)]
struct Api;

/// The document of an injector that asks for what `access` asks for.
pub(super) fn of(access: &Access) -> Document {
    document::complete(Api::openapi(), "injector", access)
}
