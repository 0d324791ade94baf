//! The OpenAPI document of the calls, made from the handlers and the wire types.
//!
//! Must not know how calls are answered. What every call may answer beside its own is added in one place.

use axum::Json;
use ballast_api::NodeError;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, OpenApi as Document, Ref, ResponseBuilder, Responses,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::admission::OPEN;

/// Where it is served.
pub(super) const PATH: &str = "/v1/openapi.json";

/// What every call but `/healthz` may answer, whoever made it.
const REFUSALS: [(&str, &str); 3] = [
    ("401", "The node wants to know who asks, and does not"),
    ("403", "The node knows who asks, and this is not theirs to ask"),
    (
        "500",
        "The node's own state could not be read or kept, or the kernel refused a write, which was undone",
    ),
];

const TOO_OFTEN: (&str, &str) = ("429", "This peer asks too often; Retry-After says when to come back");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ballast env-server",
        description = "Shows a node's containers, lends them limits, and takes them back. Everything but /healthz asks for \
                       what the node is configured to ask for: a bearer token, a client certificate, both, or nothing."
    ),
    paths(
        super::node_info,
        super::containers,
        super::apply,
        super::restore,
        super::healthz,
        super::render_metrics,
        document
    ),
    components(schemas(NodeError)),
    modifiers(&Common)
)]
struct Api;

struct Common;

impl Modify for Common {
    fn modify(&self, api: &mut Document) {
        let components = api.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.security_schemes.insert("token".to_owned(), bearer.into());
        let mutual = SecurityScheme::MutualTls {
            description: Some(
                "The role is the URI ballast:observe or ballast:act in the certificate".to_owned(),
            ),
            deprecated: None,
            extensions: None,
        };
        components.security_schemes.insert("certificate".to_owned(), mutual.into());
        for (path, item) in &mut api.paths.paths {
            for operation in operations(item).into_iter().flatten() {
                refuse(&mut operation.responses, TOO_OFTEN);
                if path != OPEN {
                    REFUSALS.into_iter().for_each(|refusal| refuse(&mut operation.responses, refusal));
                    let none: [String; 0] = [];
                    operation.security = Some(vec![
                        SecurityRequirement::new("token", none.clone()),
                        SecurityRequirement::new("certificate", none),
                    ]);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> [Option<&mut Operation>; 3] {
    [item.get.as_mut(), item.post.as_mut(), item.delete.as_mut()]
}

fn refuse(responses: &mut Responses, (status, description): (&str, &str)) {
    let error = Ref::from_schema_name(NodeError::name());
    let content = ContentBuilder::new().schema(Some(error)).build();
    let response = ResponseBuilder::new().description(description).content("application/json", content);
    responses.responses.insert(status.to_owned(), response.build().into());
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", responses((status = 200, description = "This document")))]
pub(super) async fn document() -> Json<Document> {
    Json(Api::openapi())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Method and path of every operation, and the statuses that it documents.
    fn documented() -> BTreeMap<(String, String), BTreeSet<String>> {
        let text = serde_json::to_value(Api::openapi()).unwrap();
        let mut found = BTreeMap::new();
        for (path, item) in text["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
                found.insert((method.clone(), path.clone()), statuses);
            }
        }
        found
    }

    /// Method and path of every `.route("PATH", METHOD(...))` of the router.
    fn routed() -> BTreeSet<(String, String)> {
        let router = include_str!("../http.rs");
        let constants = [("OPEN", OPEN), ("openapi::PATH", PATH)];
        let routes = router.split(".route(").skip(1).map(|route| {
            let (path, call) = route.split_once(", ").unwrap();
            let constant = constants.iter().find(|(name, _)| *name == path);
            let path = constant.map_or(path.trim_matches('"'), |(_, path)| path);
            (call.split_once('(').unwrap().0.to_owned(), path.to_owned())
        });
        routes.collect()
    }

    #[test]
    fn every_route_is_documented_and_the_other_way_round() {
        let documented: BTreeSet<_> = documented().into_keys().collect();
        assert_eq!(documented.len(), 7);
        assert_eq!(documented, routed());
    }

    #[test]
    fn every_status_is_documented() {
        let documented = documented();
        let statuses = |method: &str, path: &str| {
            let found = &documented[&(method.to_owned(), path.to_owned())];
            found.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(statuses("get", "/healthz"), "200 429");
        assert_eq!(statuses("get", "/v1/node"), "200 401 403 429 500");
        assert_eq!(statuses("post", "/v1/plans"), "200 400 401 403 404 408 409 413 415 422 429 500");
        assert_eq!(statuses("delete", "/v1/containers/{name}/limits"), "200 401 403 404 422 429 500");
    }

    #[test]
    fn every_reference_leads_somewhere_and_a_limit_is_a_number_or_max() {
        let document = serde_json::to_value(Api::openapi()).unwrap();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let limit = document.pointer("/components/schemas/Limit").unwrap().to_string();
        assert!(limit.contains("number") && limit.contains("oneOf"), "{limit}");
        assert!(text.contains("\"max\""));
    }
}
