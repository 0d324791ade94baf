//! What an OpenAPI document says of the gate: what every call may be refused with, and what has to be shown.
//!
//! Must not know what any call does.

use ballast_api::NodeError;
use utoipa::{
    ToSchema,
    openapi::{
        Content, ContentBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, ResponseBuilder, Type,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{access::Access, admission::OPEN, service::describe};

/// What a call may answer beside its own: the status, why, and the header that comes with it.
struct Refused {
    status: &'static str,
    why: &'static str,
    header: Option<(&'static str, Type)>,
}

const TOO_OFTEN: Refused =
    Refused { status: "429", why: "This peer asks too often", header: Some(("Retry-After", Type::Integer)) };
const UNKNOWN: Refused = Refused {
    status: "401",
    why: "The node wants to know who asks, and does not",
    header: Some(("WWW-Authenticate", Type::String)),
};
const NOT_THEIRS: Refused = Refused {
    status: "403",
    why: "The node knows who asks, and this is not theirs to ask; or a page in a browser asks; or nobody is asked who they \
          are, and Host is neither an address nor localhost",
    header: None,
};
const FAILED: Refused = Refused {
    status: "500",
    why: "The node's own state could not be read or kept, or the kernel refused a write, which was undone",
    header: None,
};

const TOKEN: &str = "token";
const CERTIFICATE: &str = "certificate";

/// Adds to `api`, the calls of the service that is called `name`, those that every service answers; and to all of them what the
/// gate answers and asks for, as `access` is configured. `api` must have the schema of [`NodeError`].
#[must_use]
pub fn complete(mut api: OpenApi, name: &str, access: &Access) -> OpenApi {
    describe(&mut api, name);
    let schemes = &mut api.components.get_or_insert_default().security_schemes;
    if access.demands_token() {
        schemes.insert(TOKEN.to_owned(), SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)).into());
    }
    if access.demands_certificate() {
        schemes.insert(CERTIFICATE.to_owned(), mutual_tls().into());
    }
    for (path, item) in &mut api.paths.paths {
        for operation in operations(item).into_iter().flatten() {
            refuses(operation, &TOO_OFTEN);
            if path == OPEN {
                secure(operation, &[(CERTIFICATE, access.demands_certificate())]);
                continue;
            }
            refuses(operation, &FAILED);
            refuses(operation, &NOT_THEIRS);
            if access.demands_token() {
                refuses(operation, &UNKNOWN);
            }
            let demanded = [(TOKEN, access.demands_token()), (CERTIFICATE, access.demands_certificate())];
            secure(operation, &demanded);
        }
    }
    api
}

fn mutual_tls() -> SecurityScheme {
    let role = "The role is the URI ballast:observe or ballast:act in the certificate";
    SecurityScheme::MutualTls { description: Some(role.to_owned()), deprecated: None, extensions: None }
}

/// Says what has to be shown, all of it together.
fn secure(operation: &mut Operation, demanded: &[(&str, bool)]) {
    let demanded = demanded.iter().filter(|(_, is_demanded)| *is_demanded);
    let none: [String; 0] = [];
    let requirement =
        demanded.fold(SecurityRequirement::default(), |all, (name, _)| all.add(*name, none.clone()));
    if requirement != SecurityRequirement::default() {
        operation.security = Some(vec![requirement]);
    }
}

fn operations(item: &mut PathItem) -> [Option<&mut Operation>; 4] {
    [item.get.as_mut(), item.post.as_mut(), item.put.as_mut(), item.delete.as_mut()]
}

fn refuses(operation: &mut Operation, refused: &Refused) {
    let mut response =
        ResponseBuilder::new().description(refused.why).content("application/json", node_error());
    if let Some((name, kind)) = &refused.header {
        let schema = ObjectBuilder::new().schema_type(kind.clone()).build();
        response = response.header(*name, HeaderBuilder::new().schema(Some(schema)).build());
    }
    operation.responses.responses.insert(refused.status.to_owned(), response.build().into());
}

fn node_error() -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(NodeError::name()))).build()
}
