//! The OpenAPI document of the calls, made from the handlers and the wire types.
//!
//! Must not know how calls are answered. What every service answers, and what every call may
//! answer beside its own, is added by the gate.

use ballast_api::NodeError;
use ballast_gate::{Access, document};
use utoipa::{OpenApi, openapi::OpenApi as Document};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ballast env-server",
        description = "Shows a node's containers, lends them limits, and takes them back. Everything but /healthz asks for \
                       what the node is configured to ask for: a bearer token, a client certificate, both, or nothing; \
                       this document says which. A certificate is part of the connection, so /healthz needs it too. What \
                       is no HTTP, or too long for a head, is refused with 400 or 431 and without a body, before it is a \
                       request; a head that does not come within 5 s, and a connection too many, is cut without an \
                       answer. 401, 403 and 429 end the connection, as does the first answer after a minute."
    ),
    paths(super::node_info, super::containers, super::apply, super::restore),
    components(schemas(NodeError))
)]
struct Api;

/// The document of a node that asks for what `access` asks for.
pub(super) fn of(access: &Access) -> Document {
    document::complete(Api::openapi(), "env-server", access)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        os::unix::fs::PermissionsExt,
    };

    use ballast_api::Plan;

    use super::*;
    use ballast_gate::{AccessSettings, SHARED, TokenFiles};

    /// As without tokens and certificates, and as with a token.
    fn documents() -> [serde_json::Value; 2] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "act-0123456789abcd").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let tokens = TokenFiles { act: Some(file), ..TokenFiles::default() };
        let settings = [AccessSettings::default(), AccessSettings { tokens, ..AccessSettings::default() }];
        settings.map(|settings| serde_json::to_value(of(&Access::open(&settings).unwrap())).unwrap())
    }

    /// Method and path of every operation, and the statuses that it documents.
    fn documented(text: &serde_json::Value) -> BTreeMap<(String, String), BTreeSet<String>> {
        let mut found = BTreeMap::new();
        for (path, item) in text["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let statuses = operation["responses"].as_object().unwrap().keys().cloned().collect();
                found.insert((method.clone(), path.clone()), statuses);
            }
        }
        found
    }

    /// Method and path of every `.route("PATH", METHOD(...))` of the router, and of what every service answers.
    fn routed() -> BTreeSet<(String, String)> {
        let router = include_str!("../http.rs");
        let own = router.split(".route(").skip(1).map(|route| {
            let (path, call) = route.split_once(", ").unwrap();
            (call.split_once('(').unwrap().0, path.trim_matches('"'))
        });
        let routes = own.chain(SHARED.map(|path| ("get", path)));
        routes.map(|(method, path)| (method.to_owned(), path.to_owned())).collect()
    }

    #[test]
    fn every_route_is_documented_and_the_other_way_round() {
        let documented: BTreeSet<_> = documented(&documents()[0]).into_keys().collect();
        assert_eq!(documented.len(), 7);
        assert_eq!(documented, routed());
    }

    #[test]
    fn every_status_is_documented() {
        let [open, closed] = documents().map(|document| documented(&document));
        for (method, path, statuses, to_strangers) in [
            ("get", "/healthz", "200 429", ""),
            ("get", "/v1/node", "200 403 429 500", "401"),
            ("post", "/v1/plans", "200 400 403 404 408 409 413 415 422 429 500", "401"),
            ("delete", "/v1/containers/{name}/limits", "200 400 403 404 429 500", "401"),
        ] {
            let key = (method.to_owned(), path.to_owned());
            let set = |text: &str| text.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
            assert_eq!(open[&key], set(statuses), "{path}");
            assert_eq!(closed[&key], &set(statuses) | &set(to_strangers), "{path}");
        }
    }

    #[test]
    fn what_is_demanded_is_declared_and_nothing_else() {
        let [open, closed] = documents();
        assert_eq!(open.pointer("/paths/~1v1~1node/get/security"), None);
        assert_eq!(open.pointer("/components/securitySchemes"), None);
        let token = serde_json::json!([{ "token": [] }]);
        assert_eq!(closed.pointer("/paths/~1v1~1node/get/security"), Some(&token));
        assert_eq!(closed.pointer("/paths/~1healthz/get/security"), None);
    }

    #[test]
    fn every_reference_leads_somewhere_and_a_limit_is_a_number_or_max() {
        let [document, _] = documents();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        let schema = |name: &str| document.pointer(&format!("/components/schemas/{name}")).unwrap();
        let limit = schema("Limit").to_string();
        assert!(limit.contains("oneOf") && limit.contains("schemas/Amount"), "{limit}");
        let amount = schema("Amount");
        assert_eq!((&amount["type"], &amount["minimum"]), (&"number".into(), &0.into()), "{amount}");
        assert!(text.contains("\"max\""));
        assert_eq!(schema("Plan")["properties"]["changes"]["maxItems"], Plan::MAX_CHANGES);
    }
}
